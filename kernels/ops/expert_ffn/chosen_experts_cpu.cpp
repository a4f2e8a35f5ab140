#include <algorithm>
#include <vector>

#include "kernels/core/host_view.hpp"
#include "kernels/core/tensor.hpp"
#include "kernels/ops/cpu_bodies.hpp"
#include "kernels/ops/cpu_device.hpp"
#include "kernels/ops/expert_ffn/expert_ffn.hpp"

namespace sy::ops {
namespace {

/// The choices as slots, grouped by expert and in ascending order inside of one.
struct SlotsOfChoices {
    std::vector<index_t> offsets;
    std::vector<std::int32_t> row;
    std::vector<float> weight;
    std::vector<index_t> choice;

    SlotsOfChoices(MatrixView<const std::int32_t> expert, MatrixView<const float> weights,
                   index_t num_experts) {
        offsets.assign(static_cast<std::size_t>(num_experts) + 1, 0);
        for (index_t e = 0; e < num_experts; ++e) {
            for (index_t t = 0; t < expert.rows; ++t) {
                for (index_t j = 0; j < expert.cols; ++j) {
                    if (expert(t, j) != e) continue;
                    row.push_back(static_cast<std::int32_t>(t));
                    weight.push_back(weights(t, j));
                    choice.push_back(t * expert.cols + j);
                }
            }
            offsets[static_cast<std::size_t>(e) + 1] = static_cast<index_t>(choice.size());
        }
    }
};

}  // namespace

void on_cpu::chosen_expert_ffn(ConstTensorRef x, const ExpertWeights& weights, const ChosenExperts& chosen,
                               TensorRef out, const Context& context) {
    const SlotsOfChoices slots(host<const std::int32_t>(chosen.expert), host<const float>(chosen.weight),
                               weights.up.rows() / x.cols());
    Tensor results(context.device, DType::f32, {static_cast<index_t>(slots.choice.size()), x.cols()});
    on_cpu::expert_ffn(x, weights,
                       {slots.offsets, slots.row, host_operand(std::span<const float>(slots.weight)), {}}, {},
                       results, context);
    const auto from = host<const float>(results.ref());
    const auto to = host<float>(out);
    for (index_t s = 0; s < to.rows; ++s) std::ranges::fill(to.row_span(s), 0.0F);
    for (std::size_t slot = 0; slot < slots.choice.size(); ++slot)
        std::ranges::copy(from.row_span(static_cast<index_t>(slot)), to.row(slots.choice[slot]));
}

}  // namespace sy::ops
