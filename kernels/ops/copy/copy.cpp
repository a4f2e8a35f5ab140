#include "kernels/ops/copy/copy.hpp"

#include "kernels/ops/bodies.hpp"

namespace sy::ops {

void copy(ConstTensorRef x, TensorRef y, const Context& context) {
    context.device.bodies().copy(x, y, context);
}

void fill(float value, TensorRef values, const Context& context) {
    context.device.bodies().fill(value, values, context);
}

void clear(TensorRef values, const Context& context) {
    context.device.bodies().clear(values, context);
}

}  // namespace sy::ops
