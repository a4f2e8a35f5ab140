#include "kernels/ops/expert_ffn/check.hpp"

#include <algorithm>

#include "kernels/core/fits.hpp"

namespace sy::ops::detail {
namespace {

bool is_of(ConstTensorRef operand, index_t rows, index_t cols) {
    return operand.rows() == rows && operand.cols() == cols;
}

void check_biases(const ExpertWeights& weights, const ExpertSlots& slots) {
    const ExpertBiases& biases = weights.biases;
    if (biases.gate.is_null() && biases.up.is_null() && biases.down.is_null()) return;
    const index_t width = weights.up.cols();
    const bool dense = slots.row.empty() && slots.weight.is_null() && slots.num_experts() == 1;
    SY_FITS(dense && biases.gate.num_elements() == (is_gated(weights.activation) ? width : 0) &&
                biases.up.num_elements() == width && biases.down.num_elements() == weights.down.cols(),
            "expert_ffn: biases of ", biases.gate.num_elements(), ", ", biases.up.num_elements(), " and ",
            biases.down.num_elements(), " for ", activation_name(weights.activation), " of width ", width,
            " in ", slots.num_experts(),
            " experts; only a dense feed-forward can have them, and then all of them");
}

void check_weights(ConstTensorRef x, const ExpertWeights& weights, index_t num_experts) {
    const ConstTensorRef& gate = weights.gate;
    const ConstTensorRef& up = weights.up;
    const ConstTensorRef& down = weights.down;
    const index_t hidden = x.cols();
    const index_t width = up.cols();
    const bool gated = is_gated(weights.activation);
    const bool gate_fits = gated ? is_of(gate, num_experts * hidden, width) : gate.is_null();
    SY_FITS(num_experts >= 0 && gate_fits && is_of(up, num_experts * hidden, width) &&
                is_of(down, num_experts * width, hidden),
            "expert_ffn: x [", x.rows(), ", ", hidden, "], gate [", gate.rows(), ", ", gate.cols(), "], up [",
            up.rows(), ", ", up.cols(), "], down [", down.rows(), ", ", down.cols(), "] for ", num_experts,
            " experts with ", activation_name(weights.activation));
    const DType dtype = x.dtype();
    SY_FITS(up.dtype() == dtype && down.dtype() == dtype && (!gated || gate.dtype() == dtype) &&
                up.is_contiguous() && down.is_contiguous() && gate.is_contiguous(),
            "expert_ffn: x in ", dtype_name(dtype), ", up in ", dtype_name(up.dtype()), ", down in ",
            dtype_name(down.dtype()),
            "; they must have one dtype, and the rows of weights must not be apart");
}

void check_operands(ConstTensorRef x, const ExpertWeights& weights, const ExpertSlots& slots) {
    check_weights(x, weights, slots.offsets.empty() ? -1 : slots.num_experts());
    check_biases(weights, slots);
    const auto num_slots = static_cast<std::size_t>(slots.num_slots());
    SY_FITS((slots.row.empty() ? slots.num_slots() == x.rows() : slots.row.size() == num_slots) &&
                (slots.weight.is_null() || slots.weight.num_elements() == slots.num_slots()),
            "expert_ffn: ", num_slots, " slots with ", slots.row.size(), " rows listed, ",
            slots.weight.num_elements(), " weights and ", x.rows(), " input rows");
    SY_FITS(slots.offsets.front() == 0 && std::is_sorted(slots.offsets.begin(), slots.offsets.end()),
            "expert_ffn: the offsets of the experts must ascend from 0");
    for (const std::int32_t row : slots.row)
        SY_FITS(row >= 0 && row < x.rows(), "expert_ffn: a slot of row ", row, ", there are ", x.rows());
}

/// Whether what is kept has the sides and dtype that the weights ask for.
bool kept_fits(const ExpertKept& kept, const ExpertWeights& weights, index_t num_slots) {
    const auto fits = [&](ConstTensorRef part) {
        return is_of(part, num_slots, weights.up.cols()) &&
               (part.is_null() || part.dtype() == weights.up.dtype());
    };
    return fits(kept.up) && (is_gated(weights.activation) ? fits(kept.gate) : kept.gate.is_null());
}

bool is_gradient_of(const GradientRef& gradient, index_t rows, index_t cols) {
    return !gradient.is_null() && is_of(gradient.sums, rows, cols);
}

void check_gradients(const ExpertGradients& gradients, const ExpertWeights& weights, index_t num_experts) {
    const index_t hidden = weights.down.cols();
    const index_t width = weights.up.cols();
    const auto fit = [&](std::span<const GradientRef> list, index_t rows, index_t cols) {
        return static_cast<index_t>(list.size()) == num_experts &&
               std::all_of(list.begin(), list.end(),
                           [&](const GradientRef& gradient) { return is_gradient_of(gradient, rows, cols); });
    };
    const bool gate_fits =
        is_gated(weights.activation) ? fit(gradients.gate, hidden, width) : gradients.gate.empty();
    SY_FITS(gate_fits && fit(gradients.up, hidden, width) && fit(gradients.down, width, hidden),
            "expert_ffn_backward: ", num_experts, " experts of ", hidden, " by ", width, " with ",
            activation_name(weights.activation), " need as many gradients of these sides; got ",
            gradients.gate.size(), ", ", gradients.up.size(), " and ", gradients.down.size());
    const ExpertBiases& biases = weights.biases;
    const auto bias_fits = [](ConstTensorRef bias, const GradientRef& gradient) {
        return gradient.num_elements() == bias.num_elements() && gradient.is_null() == bias.is_null();
    };
    SY_FITS(bias_fits(biases.gate, gradients.biases.gate) && bias_fits(biases.up, gradients.biases.up) &&
                bias_fits(biases.down, gradients.biases.down),
            "expert_ffn_backward: biases of ", biases.gate.num_elements(), ", ", biases.up.num_elements(),
            " and ", biases.down.num_elements(), " need one gradient each of the same size");
}

void check_blocks(const ExpertSlots& slots, const ExpertGradients& gradients) {
    if (gradients.up.empty() || !gradients.up[0].is_fixed() || slots.num_slots() == 0) return;
    const std::span<const index_t> blocks = slots.blocks;
    const auto is_boundary = [&](index_t offset) {
        return std::binary_search(blocks.begin(), blocks.end(), offset);
    };
    SY_FITS(std::is_sorted(blocks.begin(), blocks.end()) &&
                std::all_of(slots.offsets.begin(), slots.offsets.end(), is_boundary),
            "expert_ffn_backward: ", blocks.size(), " block boundaries for ", slots.num_slots(),
            " slots must ascend and include every offset");
}

}  // namespace

void check_forward(ConstTensorRef x, const ExpertWeights& weights, const ExpertSlots& slots,
                   const ExpertSaved& saved, ConstTensorRef out) {
    check_operands(x, weights, slots);
    SY_FITS(is_of(out, slots.num_slots(), x.cols()), "expert_ffn: out [", out.rows(), ", ", out.cols(),
            "] for ", slots.num_slots(), " slots of width ", x.cols());
    const bool keeps = !saved.up.is_null() || !saved.gate.is_null();
    SY_FITS(!keeps || kept_fits({saved.gate, saved.up}, weights, slots.num_slots()),
            "expert_ffn: room to keep [", saved.gate.rows(), ", ", saved.gate.cols(), "] and [",
            saved.up.rows(), ", ", saved.up.cols(), "] of ", slots.num_slots(), " slots and width ",
            weights.up.cols(), " with ", activation_name(weights.activation));
}

void check_chosen(ConstTensorRef x, const ExpertWeights& weights, const ChosenExperts& chosen,
                  ConstTensorRef out) {
    check_weights(x, weights, x.cols() == 0 ? -1 : weights.up.rows() / x.cols());
    const auto& [expert, weight] = chosen;
    const ExpertBiases& biases = weights.biases;
    SY_FITS(biases.gate.is_null() && biases.up.is_null() && biases.down.is_null(),
            "chosen_expert_ffn: experts with biases; only a dense feed-forward can have them");
    SY_FITS(expert.rows() == x.rows() && weight.rows() == x.rows() && weight.cols() == expert.cols() &&
                expert.dtype() == DType::i32 && weight.dtype() == DType::f32 && expert.is_contiguous() &&
                weight.is_contiguous() && is_of(out, expert.num_elements(), x.cols()) &&
                out.dtype() == DType::f32,
            "chosen_expert_ffn: x [", x.rows(), ", ", x.cols(), "], experts [", expert.rows(), ", ",
            expert.cols(), "] ", dtype_name(expert.dtype()), ", weights [", weight.rows(), ", ",
            weight.cols(), "] ", dtype_name(weight.dtype()), ", out [", out.rows(), ", ", out.cols(), "] ",
            dtype_name(out.dtype()));
}

void check_backward(ConstTensorRef x, const ExpertWeights& weights, const ExpertSlots& slots,
                    const ExpertKept& kept, const ExpertBackward& backward) {
    check_operands(x, weights, slots);
    const index_t num_slots = slots.num_slots();
    const index_t hidden = x.cols();
    const auto& [dy, dx, dweight, gradients, _] = backward;
    SY_FITS(is_of(dy, x.rows(), hidden) && is_of(dx, num_slots, hidden) &&
                kept_fits(kept, weights, num_slots) && dweight.num_elements() == slots.weight.num_elements(),
            "expert_ffn_backward: dy [", dy.rows(), ", ", dy.cols(), "], dx [", dx.rows(), ", ", dx.cols(),
            "], kept [", kept.gate.rows(), ", ", kept.gate.cols(), "] and [", kept.up.rows(), ", ",
            kept.up.cols(), "], ", dweight.num_elements(), " weight gradients for ", num_slots,
            " slots of width ", hidden, " with ", slots.weight.num_elements(), " weights");
    SY_FITS(dy.dtype() == x.dtype(), "expert_ffn_backward: x in ", dtype_name(x.dtype()), ", dy in ",
            dtype_name(dy.dtype()));
    check_gradients(gradients, weights, slots.num_experts());
    check_blocks(slots, gradients);
}

}  // namespace sy::ops::detail
