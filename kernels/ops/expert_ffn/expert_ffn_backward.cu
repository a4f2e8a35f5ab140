// First dh' = dy Wdown^T, the backward of the activation and dx; they leave h, dgate, dup and the gathered rows in memory.
// Then the gradients of the weights, expert after expert.
#include <algorithm>
#include <vector>

#include "kernels/cuda/cuda_bodies.hpp"
#include "kernels/cuda/team.hpp"
#include "kernels/cuda/view.hpp"
#include "kernels/ops/activation/nonlinearity.cuh"
#include "kernels/ops/bias/bias.hpp"
#include "kernels/ops/expert_ffn/expert_ffn.hpp"
#include "kernels/ops/expert_ffn/grouped.cuh"

namespace sy::ops {
namespace {

template <class In>
struct ActivateBackward {
    cuda::Matrix<const In> gate;  ///< null data where the activation has no gate
    cuda::Matrix<const In> up;
    cuda::Matrix<const float> dh;
    const float* weight;  ///< null: all are 1
    cuda::Matrix<In> h;
    cuda::Matrix<In> dgate;
    cuda::Matrix<In> dup;
    float* dot;  ///< [S]; null: not wanted
};

template <class F, class In>
void activate_backward(const ActivateBackward<In>& all, const Context& context) {
    const ActivateBackward<In> op = all;
    cuda::for_rows(context, op.up.rows, op.up.cols, [=] __device__(index_t s, const cuda::Team& team) {
        const float weight = op.weight == nullptr ? 1.0F : op.weight[s];
        float dot = 0.0F;
        for (index_t f = team.thread; f < op.up.cols; f += team.size) {
            const auto up = static_cast<float>(op.up(s, f));
            const float unweighted = op.dh(s, f);
            const float d = unweighted * weight;
            float activated = 0.0F;
            if (op.gate.data == nullptr) {
                const on_gpu::Both both = F::both(up);
                activated = both.value;
                op.dup(s, f) = static_cast<In>(d * both.slope);
            } else {
                const on_gpu::Both both = F::both(static_cast<float>(op.gate(s, f)));
                activated = both.value * up;
                op.dgate(s, f) = static_cast<In>(d * up * both.slope);
                op.dup(s, f) = static_cast<In>(d * both.value);
            }
            dot += activated * unweighted;
            op.h(s, f) = static_cast<In>(activated * weight);
        }
        if (op.dot == nullptr) return;
        dot = team.sum(dot);
        if (team.thread == 0) op.dot[s] = dot;
    });
}

/// Values by slot that the first part leaves for the gradients.
struct Intermediate {
    ConstTensorRef x;   ///< [S, H]
    ConstTensorRef dy;  ///< [S, H] unweighted
    Tensor h;           ///< [S, F] weighted activation
    Tensor dgate;       ///< [S, F]; without rows when not gated
    Tensor dup;         ///< [S, F]
};

void add_experts(const ExpertSlots& slots, ConstTensorRef left, ConstTensorRef right,
                 std::span<const GradientRef> gradients, const Context& context) {
    for (std::size_t expert = 0; expert < gradients.size(); ++expert) {
        const Range range = group_of(slots.offsets, static_cast<index_t>(expert));
        if (range.size() == 0) continue;
        std::vector<index_t> blocks;
        if (gradients[expert].is_fixed()) {
            const auto first = std::ranges::lower_bound(slots.blocks, range.begin);
            const auto last = std::ranges::lower_bound(slots.blocks, range.end);
            for (auto block = first; block <= last; ++block) blocks.push_back(*block - range.begin);
        }
        on_gpu::add_weight_gradient(left.rows_of(range), right.rows_of(range), blocks, gradients[expert],
                                    context);
    }
}

void add_biases(const ExpertWeights& weights, const ExpertSlots& slots, const Intermediate& between,
                const ExpertBiasGradients& gradients, const Context& context) {
    if (weights.biases.up.is_null()) return;
    const index_t all[] = {0, slots.num_slots()};
    const std::span<const index_t> blocks =
        slots.blocks.empty() ? std::span<const index_t>(all) : slots.blocks;
    if (is_gated(weights.activation)) ops::bias_backward(between.dgate, blocks, gradients.gate, context);
    ops::bias_backward(between.dup, blocks, gradients.up, context);
    ops::bias_backward(between.dy, blocks, gradients.down, context);
}

}  // namespace

void on_cuda::expert_ffn_backward(ConstTensorRef x, const ExpertWeights& weights, const ExpertSlots& slots,
                                  const ExpertKept& kept, const ExpertBackward& backward,
                                  const Context& context) {
    const index_t num_slots = slots.num_slots();
    if (num_slots == 0) {
        if (backward.dx_ready) backward.dx_ready();
        return;
    }
    const index_t width = weights.up.cols();
    const bool gated = is_gated(weights.activation);
    const DType dtype = x.dtype();
    const on_gpu::SlotRows x_rows(x, slots, context);
    const on_gpu::SlotRows dy_rows(backward.dy, slots, context);
    Intermediate between{x_rows.ref(), dy_rows.ref(), Tensor(context.device, dtype, {num_slots, width}),
                         Tensor(context.device, dtype, {gated ? num_slots : 0, width}),
                         Tensor(context.device, dtype, {num_slots, width})};
    {
        Tensor dh(context.device, DType::f32, {num_slots, width});
        on_gpu::multiply_experts(slots, between.dy, weights.down, Transpose::yes, dh, Write::overwrite,
                                 context);
        dispatch_dtype(dtype, [&]<class In>() {
            const ActivateBackward<In> op{
                cuda::view<const In>(kept.gate),   cuda::view<const In>(kept.up),
                cuda::view<const float>(dh.ref()), cuda::values<const float>(slots.weight),
                cuda::view<In>(between.h.ref()),   cuda::view<In>(between.dgate.ref()),
                cuda::view<In>(between.dup.ref()), cuda::values<float>(backward.dweight)};
            on_gpu::with_function(weights.activation,
                                  [&]<class F>() { activate_backward<F, In>(op, context); });
        });
    }
    if (gated)
        on_gpu::multiply_experts(slots, between.dgate, weights.gate, Transpose::yes, backward.dx,
                                 Write::overwrite, context);
    on_gpu::multiply_experts(slots, between.dup, weights.up, Transpose::yes, backward.dx,
                             gated ? Write::add : Write::overwrite, context);
    if (backward.dx_ready) backward.dx_ready();
    const ExpertGradients& gradients = backward.gradients;
    if (gated) add_experts(slots, between.x, between.dgate, gradients.gate, context);
    add_experts(slots, between.x, between.dup, gradients.up, context);
    add_experts(slots, between.h, between.dy, gradients.down, context);
    add_biases(weights, slots, between, gradients.biases, context);
}

}  // namespace sy::ops
