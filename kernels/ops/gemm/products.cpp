#include "kernels/ops/gemm/gemm.hpp"

#include <utility>

#include "kernels/core/fits.hpp"
#include "kernels/core/profile.hpp"
#include "kernels/ops/bodies.hpp"

namespace sy::ops {
namespace {

void check_sides(const Product& product) {
    const auto sides = [](ConstTensorRef x, Transpose transpose) {
        return transpose == Transpose::yes ? std::pair(x.cols(), x.rows()) : std::pair(x.rows(), x.cols());
    };
    const auto [m, k] = sides(product.a, product.transpose_a);
    const auto [kb, n] = sides(product.b, product.transpose_b);
    SY_FITS(has_sides(product.c, m, n) && k == kb, "gemm: [", m, ", ", k, "] times [", kb, ", ", n,
            "] does not make [", product.c.rows(), ", ", product.c.cols(), "]");
}

}  // namespace

void multiply(const Product& product, const Context& context) {
    const DType dtype = product.a.dtype();
    SY_FITS(product.b.dtype() == dtype && product.c.dtype() == DType::f32, "gemm: ", dtype_name(dtype),
            " times ", dtype_name(product.b.dtype()), " into ", dtype_name(product.c.dtype()));
    check_sides(product);
    const Timed timed(context, OpKind::product, 0.0);
    context.device.bodies().multiply(product, context);
}

void add_weight_gradient(ConstTensorRef x, ConstTensorRef dy, index_t block_rows, GradientRef gradient,
                         const Context& context) {
    SY_FITS(x.dtype() == dy.dtype(), "add_weight_gradient: x in ", dtype_name(x.dtype()), ", dy in ",
            dtype_name(dy.dtype()));
    SY_FITS(x.rows() == dy.rows() && x.cols() == gradient.rows() && dy.cols() == gradient.cols(),
            "add_weight_gradient: x [", x.rows(), ", ", x.cols(), "], dy [", dy.rows(), ", ", dy.cols(),
            "], gradient [", gradient.rows(), ", ", gradient.cols(), "]");
    if (x.rows() == 0) return;
    SY_FITS(!gradient.is_fixed() || block_rows > 0, "add_weight_gradient: blocks of ", block_rows, " rows");
    const Timed timed(context, OpKind::product, 0.0);
    context.device.bodies().add_weight_gradient(x, dy, block_rows, gradient, context);
}

}  // namespace sy::ops
