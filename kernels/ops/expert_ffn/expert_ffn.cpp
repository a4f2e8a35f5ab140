#include "kernels/ops/expert_ffn/expert_ffn.hpp"

#include "kernels/core/profile.hpp"
#include "kernels/ops/expert_ffn/check.hpp"
#include "kernels/ops/bodies.hpp"

namespace sy::ops {
namespace {

double activation_flops_of(const ExpertWeights& weights, const ExpertSlots& slots) {
    return activation_flops(weights.activation) * static_cast<double>(slots.num_slots() * weights.up.cols());
}

}  // namespace

void expert_ffn(ConstTensorRef x, const ExpertWeights& weights, const ExpertSlots& slots,
                const ExpertSaved& saved, TensorRef out, const Context& context) {
    detail::check_forward(x, weights, slots, saved, out);
    const Timed timed(context, OpKind::elementwise, activation_flops_of(weights, slots));
    context.device.bodies().expert_ffn(x, weights, slots, saved, out, context);
}

void chosen_expert_ffn(ConstTensorRef x, const ExpertWeights& weights, const ChosenExperts& chosen,
                       TensorRef out, const Context& context) {
    detail::check_chosen(x, weights, chosen, out);
    if (out.num_elements() == 0) return;
    const auto num_choices = static_cast<double>(out.rows());
    const double num_matrices = is_gated(weights.activation) ? 3.0 : 2.0;
    const auto size = static_cast<double>(x.cols() * weights.up.cols());
    const Timed timed(context, OpKind::product, 2.0 * num_choices * num_matrices * size);
    context.device.bodies().chosen_expert_ffn(x, weights, chosen, out, context);
}

void expert_ffn_backward(ConstTensorRef x, const ExpertWeights& weights, const ExpertSlots& slots,
                         const ExpertKept& kept, const ExpertBackward& backward, const Context& context) {
    detail::check_backward(x, weights, slots, kept, backward);
    const Timed timed(context, OpKind::elementwise, 2.0 * activation_flops_of(weights, slots));
    context.device.bodies().expert_ffn_backward(x, weights, slots, kept, backward, context);
}

}  // namespace sy::ops
