#include "kernels/ops/embedding/embedding.hpp"

#include "kernels/ops/bodies.hpp"

namespace sy::ops {

void embedding(ConstTensorRef table, std::span<const std::int32_t> ids, TensorRef out,
               const Context& context) {
    context.device.bodies().embedding(table, ids, out, context);
}

void embedding_backward(std::span<const std::int32_t> ids, ConstTensorRef dout, GradientView gradient,
                        const Context& context) {
    context.device.bodies().embedding_backward(ids, dout, gradient, context);
}

void add_positions(ConstTensorRef table, std::span<const std::int32_t> positions, TensorRef x,
                   const Context& context) {
    context.device.bodies().add_positions(table, positions, x, context);
}

void sine_table(TensorRef table, const Context& context) {
    context.device.bodies().sine_table(table, context);
}

}  // namespace sy::ops
