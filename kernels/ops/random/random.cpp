#include "kernels/ops/random/random.hpp"

#include "kernels/core/fits.hpp"
#include "kernels/core/profile.hpp"
#include "kernels/ops/bodies.hpp"

namespace sy::ops {

void fill_normal(const RandomKey& key, index_t first, float deviation, TensorRef values,
                 const Context& context) {
    SY_FITS(first >= 0, "fill_normal: first element ", first);
    context.device.bodies().fill_normal(key, first, deviation, values, context);
}

void fill_gumbel(const RandomKey& key, index_t first, float scale, TensorRef values, const Context& context) {
    SY_FITS(first >= 0, "fill_gumbel: first element ", first);
    context.device.bodies().fill_gumbel(key, first, scale, values, context);
}

void jitter(ConstTensorRef x, const RandomKey& key, index_t first_token, float eps, TensorRef y,
            const Context& context) {
    SY_FITS(x.rows() == y.rows() && x.cols() == y.cols() && first_token >= 0, "jitter: [", x.rows(), ", ",
            x.cols(), "] into [", y.rows(), ", ", y.cols(), "], first token ", first_token);
    const Timed timed(context, OpKind::elementwise, 3.0 * static_cast<double>(x.rows() * x.cols()));
    context.device.bodies().jitter(x, key, first_token, eps, y, context);
}

}  // namespace sy::ops
