#include "kernels/ops/normal/normal.hpp"

#include "kernels/core/fits.hpp"
#include "kernels/core/profile.hpp"
#include "kernels/ops/bodies.hpp"

namespace sy::ops {
namespace {

void check(const char* name, ConstTensorRef x, ConstTensorRef y) {
    SY_FITS(same_sides(x, y), name, ": [", x.rows(), ", ", x.cols(), "] into [", y.rows(), ", ", y.cols(),
            "]");
}

}  // namespace

void normal_cdf(ConstTensorRef x, TensorRef y, const Context& context) {
    check("normal_cdf", x, y);
    const Timed timed(context, OpKind::routing, 2.0 * static_cast<double>(x.num_elements()));
    context.device.bodies().normal_cdf(x, y, context);
}

void normal_density(ConstTensorRef x, TensorRef y, const Context& context) {
    check("normal_density", x, y);
    const Timed timed(context, OpKind::routing, 4.0 * static_cast<double>(x.num_elements()));
    context.device.bodies().normal_density(x, y, context);
}

}  // namespace sy::ops
