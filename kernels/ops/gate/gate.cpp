#include "kernels/ops/gate/gate.hpp"

#include "kernels/ops/bodies.hpp"

namespace sy::ops {

void gate_scores(Score kind, ConstTensorRef logits, TensorRef scores, TensorRef lse, const Context& context) {
    context.device.bodies().gate_scores(kind, logits, scores, lse, context);
}

void gate_top_k(ConstTensorRef scores, TensorRef expert, const Context& context) {
    context.device.bodies().gate_top_k(scores, expert, context);
}

void gate_limit_groups(ConstTensorRef scores, const GroupLimit& rule, TensorRef open,
                       const Context& context) {
    context.device.bodies().gate_limit_groups(scores, rule, open, context);
}

void gate_weights(const GateWeights& in, TensorRef weight, const Context& context) {
    context.device.bodies().gate_weights(in, weight, context);
}

void gate_draw_second(ConstTensorRef expert, ConstTensorRef weight, const SecondDraw& rule, TensorRef sent,
                      const Context& context) {
    context.device.bodies().gate_draw_second(expert, weight, rule, sent, context);
}

std::uint64_t routing_hash(ConstTensorRef expert, std::span<const std::uint8_t> kept, index_t layer,
                           index_t first_token, const Context& context) {
    return context.device.bodies().routing_hash(expert, kept, layer, first_token, context);
}

void gate_backward(const GateBackward& in, TensorRef dlogits, const Context& context) {
    context.device.bodies().gate_backward(in, dlogits, context);
}

}  // namespace sy::ops
