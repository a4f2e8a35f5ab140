#include "kernels/ops/softcap/softcap.hpp"

#include "kernels/ops/bodies.hpp"

namespace sy::ops {

void soft_cap(ConstTensorRef x, float cap, TensorRef y, const Context& context) {
    context.device.bodies().soft_cap(x, cap, y, context);
}

void soft_cap_backward(ConstTensorRef x, float cap, TensorRef gradient, const Context& context) {
    context.device.bodies().soft_cap_backward(x, cap, gradient, context);
}

}  // namespace sy::ops
