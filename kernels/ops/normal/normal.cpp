#include "kernels/ops/normal/normal.hpp"

#include "kernels/ops/bodies.hpp"

namespace sy::ops {

void normal_cdf(ConstTensorRef x, TensorRef y, const Context& context) {
    context.device.bodies().normal_cdf(x, y, context);
}

void normal_density(ConstTensorRef x, TensorRef y, const Context& context) {
    context.device.bodies().normal_density(x, y, context);
}

}  // namespace sy::ops
