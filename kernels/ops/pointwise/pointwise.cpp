#include "kernels/ops/pointwise/pointwise.hpp"

#include "kernels/ops/bodies.hpp"

namespace sy::ops {

void clip(TensorRef x, float limit, const Context& context) {
    context.device.bodies().clip(x, limit, context);
}

void clip_backward(ConstTensorRef y, float limit, TensorRef gradient, const Context& context) {
    context.device.bodies().clip_backward(y, limit, gradient, context);
}

void sigmoid(TensorRef x, const Context& context) {
    context.device.bodies().sigmoid(x, context);
}

void sigmoid_backward(ConstTensorRef y, TensorRef gradient, const Context& context) {
    context.device.bodies().sigmoid_backward(y, gradient, context);
}

void nonlinearity(Activation kind, ConstTensorRef x, TensorRef y, const Context& context) {
    context.device.bodies().nonlinearity(kind, x, y, context);
}

void nonlinearity_backward(Activation kind, const NonlinearityBackward& in, const Context& context) {
    context.device.bodies().nonlinearity_backward(kind, in, context);
}

}  // namespace sy::ops
