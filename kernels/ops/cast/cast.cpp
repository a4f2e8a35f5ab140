#include "kernels/ops/cast/cast.hpp"

#include "kernels/core/fits.hpp"
#include "kernels/core/profile.hpp"
#include "kernels/ops/bodies.hpp"

namespace sy::ops {

void cast(ConstTensorRef from, TensorRef to, const Context& context) {
    SY_FITS((from.dtype() == DType::f32 && to.dtype() == DType::bf16) ||
                (from.dtype() == DType::bf16 && to.dtype() == DType::f32),
            "cast: ", dtype_name(from.dtype()), " to ", dtype_name(to.dtype()));
    SY_FITS(same_sides(from, to), "cast: [", from.rows(), ", ", from.cols(), "] to [", to.rows(), ", ",
            to.cols(), "]");
    const Timed timed(context, OpKind::elementwise, static_cast<double>(from.num_elements()));
    context.device.bodies().cast(from, to, context);
}

}  // namespace sy::ops
