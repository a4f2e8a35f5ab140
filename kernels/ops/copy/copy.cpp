#include "kernels/ops/copy/copy.hpp"

#include "kernels/core/profile.hpp"
#include "kernels/core/fits.hpp"
#include "kernels/ops/bodies.hpp"

namespace sy::ops {

void copy(ConstTensorRef x, TensorRef y, const Context& context) {
    SY_FITS(same_sides(x, y), "copy: [", x.rows(), ", ", x.cols(), "] into [", y.rows(), ", ", y.cols(), "]");
    const Timed timed(context, OpKind::elementwise, 0.0);
    context.device.bodies().copy(x, y, context);
}

void fill(float value, TensorRef values, const Context& context) {
    const Timed timed(context, OpKind::elementwise, 0.0);
    context.device.bodies().fill(value, values, context);
}

void clear(TensorRef values, const Context& context) {
    const Timed timed(context, OpKind::elementwise, 0.0);
    context.device.bodies().clear(values, context);
}

}  // namespace sy::ops
