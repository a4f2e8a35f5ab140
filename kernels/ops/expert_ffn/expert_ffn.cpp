#include "kernels/ops/expert_ffn/expert_ffn.hpp"

#include "kernels/ops/bodies.hpp"

namespace sy::ops {

void expert_ffn(ConstTensorRef x, const ExpertWeights& weights, const ExpertSlots& slots,
                const ExpertSaved& saved, TensorRef out, const Context& context) {
    context.device.bodies().expert_ffn(x, weights, slots, saved, out, context);
}

void expert_ffn_backward(ConstTensorRef x, const ExpertWeights& weights, const ExpertSlots& slots,
                         const ExpertKept& kept, const ExpertBackward& backward, const Context& context) {
    context.device.bodies().expert_ffn_backward(x, weights, slots, kept, backward, context);
}

}  // namespace sy::ops
