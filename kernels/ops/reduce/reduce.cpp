#include "kernels/ops/reduce/reduce.hpp"

#include "kernels/core/fits.hpp"
#include "kernels/core/profile.hpp"
#include "kernels/ops/bodies.hpp"

namespace sy::ops {

void row_sums_of_squares(ConstTensorRef x, TensorRef sums, const Context& context) {
    SY_FITS(sums.num_elements() == x.rows(), "row_sums_of_squares: ", sums.num_elements(), " sums for ",
            x.rows(), " rows");
    const Timed timed(context, OpKind::optimizer, 2.0 * static_cast<double>(x.rows() * x.cols()));
    context.device.bodies().row_sums_of_squares(x, sums, context);
}

void add(ConstTensorRef x, TensorRef y, const Context& context) {
    add(x, y, y, context);
}

void add(ConstTensorRef x, ConstTensorRef z, TensorRef y, const Context& context) {
    SY_FITS(x.rows() == y.rows() && x.cols() == y.cols() && z.rows() == y.rows() && z.cols() == y.cols(),
            "add: [", x.rows(), ", ", x.cols(), "] and [", z.rows(), ", ", z.cols(), "] into [", y.rows(),
            ", ", y.cols(), "]");
    const Timed timed(context, OpKind::elementwise, static_cast<double>(x.rows() * x.cols()));
    context.device.bodies().add(x, z, y, context);
}

void add_in_order(std::span<const ConstTensorRef> addends, TensorRef sum, const Context& context) {
    SY_FITS(
        !addends.empty() && (sum.dtype() == DType::f32 || sum.dtype() == DType::i64) && sum.is_contiguous(),
        "add_in_order: ", addends.size(), " addends into ", dtype_name(sum.dtype()), " [", sum.rows(), ", ",
        sum.cols(), "]");
    for (const ConstTensorRef& addend : addends)
        SY_FITS(same_sides(addend, sum) && addend.dtype() == sum.dtype() && addend.is_contiguous(),
                "add_in_order: ", dtype_name(addend.dtype()), " [", addend.rows(), ", ", addend.cols(),
                "] into ", dtype_name(sum.dtype()), " [", sum.rows(), ", ", sum.cols(), "]");
    const Timed timed(context, OpKind::optimizer,
                      static_cast<double>(addends.size() - 1) * static_cast<double>(sum.num_elements()));
    context.device.bodies().add_in_order(addends, sum, context);
}

void round_fixed_point(ConstTensorRef sums, TensorRef values, const Context& context) {
    SY_FITS(same_sides(sums, values) && sums.is_contiguous() && values.is_contiguous(),
            "round_fixed_point: [", sums.rows(), ", ", sums.cols(), "] into [", values.rows(), ", ",
            values.cols(), "]");
    const Timed timed(context, OpKind::optimizer, static_cast<double>(sums.num_elements()));
    context.device.bodies().round_fixed_point(sums, values, context);
}

void scale(float factor, ConstTensorRef x, TensorRef y, const Context& context) {
    SY_FITS(x.rows() == y.rows() && x.cols() == y.cols(), "scale: [", x.rows(), ", ", x.cols(), "] into [",
            y.rows(), ", ", y.cols(), "]");
    const Timed timed(context, OpKind::elementwise, static_cast<double>(x.rows() * x.cols()));
    context.device.bodies().scale(factor, x, y, context);
}

void scale(float factor, TensorRef x, const Context& context) {
    scale(factor, x, x, context);
}

void scale_rows(ConstTensorRef factor, ConstTensorRef x, TensorRef y, const Context& context) {
    SY_FITS(factor.num_elements() == x.rows() && same_sides(x, y), "scale_rows: ", factor.num_elements(),
            " factors for [", x.rows(), ", ", x.cols(), "] into [", y.rows(), ", ", y.cols(), "]");
    const Timed timed(context, OpKind::elementwise, static_cast<double>(x.num_elements()));
    context.device.bodies().scale_rows(factor, x, y, context);
}

}  // namespace sy::ops
