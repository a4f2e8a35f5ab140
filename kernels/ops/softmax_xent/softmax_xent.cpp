#include "kernels/ops/softmax_xent/softmax_xent.hpp"

#include "kernels/ops/bodies.hpp"

namespace sy::ops {

void softmax_xent(TensorRef logits, std::span<const std::int32_t> target, float scale, TensorRef loss,
                  const OutputZLoss& z, const Context& context) {
    context.device.bodies().softmax_xent(logits, target, scale, loss, z, context);
}

void softmax_xent(TensorRef logits, std::span<const std::int32_t> target, float scale, TensorRef loss,
                  const Context& context) {
    softmax_xent(logits, target, scale, loss, {}, context);
}

}  // namespace sy::ops
