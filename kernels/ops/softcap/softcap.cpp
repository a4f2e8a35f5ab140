#include "kernels/ops/softcap/softcap.hpp"

#include "kernels/core/fits.hpp"
#include "kernels/core/profile.hpp"
#include "kernels/ops/bodies.hpp"

namespace sy::ops {
namespace {

/// A cap that is no normal number has no finite inverse.
void check(ConstTensorRef x, float cap, ConstTensorRef y) {
    SY_FITS(same_sides(x, y), "soft_cap: [", x.rows(), ", ", x.cols(), "] into [", y.rows(), ", ", y.cols(),
            "]");
    SY_REQUIRE(cap > 0.0F && std::isnormal(cap), "soft_cap: cap ", cap);
}

}  // namespace

void soft_cap(ConstTensorRef x, float cap, TensorRef y, const Context& context) {
    check(x, cap, y);
    const Timed timed(context, OpKind::softmax, 3.0 * static_cast<double>(x.num_elements()));
    context.device.bodies().soft_cap(x, cap, y, context);
}

void soft_cap_backward(ConstTensorRef x, float cap, TensorRef gradient, const Context& context) {
    check(x, cap, gradient);
    const Timed timed(context, OpKind::softmax, 7.0 * static_cast<double>(x.num_elements()));
    context.device.bodies().soft_cap_backward(x, cap, gradient, context);
}

}  // namespace sy::ops
