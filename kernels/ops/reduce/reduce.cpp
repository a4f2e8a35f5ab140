#include "kernels/ops/reduce/reduce.hpp"

#include "kernels/ops/bodies.hpp"

namespace sy::ops {

void row_sums_of_squares(ConstTensorRef x, TensorRef sums, const Context& context) {
    context.device.bodies().row_sums_of_squares(x, sums, context);
}

void add(ConstTensorRef x, TensorRef y, const Context& context) {
    add(x, y, y, context);
}

void add(ConstTensorRef x, ConstTensorRef z, TensorRef y, const Context& context) {
    context.device.bodies().add(x, z, y, context);
}

void scale(float factor, ConstTensorRef x, TensorRef y, const Context& context) {
    context.device.bodies().scale(factor, x, y, context);
}

void scale(float factor, TensorRef x, const Context& context) {
    scale(factor, x, x, context);
}

void scale_rows(ConstTensorRef factor, ConstTensorRef x, TensorRef y, const Context& context) {
    context.device.bodies().scale_rows(factor, x, y, context);
}

}  // namespace sy::ops
