#include "kernels/ops/cast/cast.hpp"

#include "kernels/ops/bodies.hpp"

namespace sy::ops {

void cast(ConstTensorRef from, TensorRef to, const Context& context) {
    context.device.bodies().cast(from, to, context);
}

}  // namespace sy::ops
