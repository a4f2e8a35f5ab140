#include "kernels/ops/pointwise/pointwise.hpp"

#include "kernels/core/fits.hpp"
#include "kernels/core/profile.hpp"
#include "kernels/ops/bodies.hpp"

namespace sy::ops {
namespace {

void check_same(const char* what, ConstTensorRef a, ConstTensorRef b) {
    SY_FITS(same_sides(a, b), what, ": [", a.rows(), ", ", a.cols(), "] and [", b.rows(), ", ", b.cols(),
            "]");
}

void check_limit(float limit) {
    SY_REQUIRE(limit > 0.0F && std::isfinite(limit), "clip: limit ", limit);
}

void check_plain(Activation kind) {
    SY_REQUIRE(!is_gated(kind), "nonlinearity: ", activation_name(kind), " has a gate");
}

}  // namespace

void clip(TensorRef x, float limit, const Context& context) {
    check_limit(limit);
    const Timed timed(context, OpKind::elementwise, static_cast<double>(x.num_elements()));
    context.device.bodies().clip(x, limit, context);
}

void clip_backward(ConstTensorRef y, float limit, TensorRef gradient, const Context& context) {
    check_limit(limit);
    check_same("clip_backward", y, gradient);
    const Timed timed(context, OpKind::elementwise, static_cast<double>(y.num_elements()));
    context.device.bodies().clip_backward(y, limit, gradient, context);
}

void sigmoid(TensorRef x, const Context& context) {
    const Timed timed(context, OpKind::elementwise, static_cast<double>(x.num_elements()));
    context.device.bodies().sigmoid(x, context);
}

void sigmoid_backward(ConstTensorRef y, TensorRef gradient, const Context& context) {
    check_same("sigmoid_backward", y, gradient);
    const Timed timed(context, OpKind::elementwise, static_cast<double>(y.num_elements()));
    context.device.bodies().sigmoid_backward(y, gradient, context);
}

void nonlinearity(Activation kind, ConstTensorRef x, TensorRef y, const Context& context) {
    check_plain(kind);
    check_same("nonlinearity", x, y);
    const Timed timed(context, OpKind::elementwise, static_cast<double>(x.num_elements()));
    context.device.bodies().nonlinearity(kind, x, y, context);
}

void nonlinearity_backward(Activation kind, const NonlinearityBackward& in, const Context& context) {
    check_plain(kind);
    check_same("nonlinearity_backward: dy", in.x, in.dy);
    check_same("nonlinearity_backward: y", in.x, in.y);
    check_same("nonlinearity_backward: dx", in.x, in.dx);
    const Timed timed(context, OpKind::elementwise, static_cast<double>(in.x.num_elements()));
    context.device.bodies().nonlinearity_backward(kind, in, context);
}

}  // namespace sy::ops
