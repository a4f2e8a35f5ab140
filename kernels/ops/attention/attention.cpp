#include "kernels/ops/attention/attention.hpp"

#include "kernels/ops/bodies.hpp"

namespace sy::ops {

void attention(const AttentionShape& shape, ConstTensorRef q, ConstTensorRef k, ConstTensorRef v,
               TensorRef out, TensorRef lse, const Context& context) {
    context.device.bodies().attention(shape, q, k, v, out, lse, context);
}

void attention_backward(const AttentionShape& shape, const AttentionBackward& operands,
                        const Context& context) {
    context.device.bodies().attention_backward(shape, operands, context);
}

void attention_decode(const AttentionShape& shape, ConstTensorRef q, ConstTensorRef k_cache,
                      ConstTensorRef v_cache, const DecodeRows& rows, TensorRef out, const Context& context) {
    context.device.bodies().attention_decode(shape, q, k_cache, v_cache, rows, out, context);
}

}  // namespace sy::ops
