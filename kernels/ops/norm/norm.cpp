#include "kernels/ops/norm/norm.hpp"

#include "kernels/core/fits.hpp"
#include "kernels/core/profile.hpp"
#include "kernels/ops/bodies.hpp"

namespace sy::ops {
namespace {

void check(const Norm& rule, ConstTensorRef x, ConstTensorRef y, ConstTensorRef rstd, ConstTensorRef mean) {
    SY_FITS(rule.gain.num_elements() == x.cols() &&
                (rule.bias.is_null() || rule.bias.num_elements() == x.cols()) && y.rows() == x.rows() &&
                y.cols() == x.cols() && rstd.num_elements() == x.rows() &&
                mean.num_elements() == (rule.kind == NormKind::layer ? x.rows() : 0),
            "norm: x [", x.rows(), ", ", x.cols(), "], y [", y.rows(), ", ", y.cols(), "], gain ",
            rule.gain.num_elements(), ", bias ", rule.bias.num_elements(), ", rstd ", rstd.num_elements(),
            ", mean ", mean.num_elements());
}

/// Arithmetic a value, of forward without the residual and of backward.
double forward_flops(const Norm& rule) {
    return (rule.kind == NormKind::rms ? 4.0 : 7.0) + (rule.bias.is_null() ? 0.0 : 1.0);
}
double backward_flops(const Norm& rule) {
    return (rule.kind == NormKind::rms ? 11.0 : 15.0) + (rule.bias.is_null() ? 0.0 : 1.0);
}

}  // namespace

void norm(const Norm& rule, ConstTensorRef x, TensorRef y, const NormStatistics& statistics,
          const Context& context) {
    check(rule, x, y, statistics.rstd, statistics.mean);
    const Timed timed(context, OpKind::normalisation,
                      forward_flops(rule) * static_cast<double>(x.num_elements()));
    context.device.bodies().norm(rule, x, y, statistics, context);
}

void add_norm(const Norm& rule, const AddNorm& rows, const NormStatistics& statistics,
              const Context& context) {
    check(rule, rows.x, rows.y, statistics.rstd, statistics.mean);
    check(rule, rows.residual, rows.sum, statistics.rstd, statistics.mean);
    const Timed timed(context, OpKind::normalisation,
                      (forward_flops(rule) + 1.0) * static_cast<double>(rows.x.num_elements()));
    context.device.bodies().add_norm(rule, rows, statistics, context);
}

void norm_backward(const Norm& rule, const NormBackward& in, TensorRef dx, const NormGradients& gradients,
                   const Context& context) {
    check(rule, in.x, in.dy, in.rstd, in.mean);
    const index_t rows = in.x.rows();
    const index_t width = in.x.cols();
    const bool has_bias = !rule.bias.is_null();
    SY_FITS(dx.rows() == rows && dx.cols() == width && gradients.gain.num_elements() == width &&
                gradients.bias.num_elements() == (has_bias ? width : 0) && in.block_rows > 0,
            "norm_backward: dx [", dx.rows(), ", ", dx.cols(), "], gain gradient ",
            gradients.gain.num_elements(), ", bias gradient ", gradients.bias.num_elements(), " for ", width,
            " columns ", has_bias ? "with" : "without", " a bias, blocks of ", in.block_rows, " rows");
    const Timed timed(context, OpKind::normalisation,
                      backward_flops(rule) * static_cast<double>(rows * width));
    context.device.bodies().norm_backward(rule, in, dx, gradients, context);
}

}  // namespace sy::ops
