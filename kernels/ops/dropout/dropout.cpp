#include "kernels/ops/dropout/dropout.hpp"

#include "kernels/core/fits.hpp"
#include "kernels/core/profile.hpp"
#include "kernels/ops/bodies.hpp"

namespace sy::ops {
namespace {

void check_probability(float probability) {
    SY_REQUIRE(probability >= 0.0F && probability < 1.0F, "dropout: probability ", probability,
               " (expected in [0, 1))");
}

}  // namespace

void dropout(ConstTensorRef x, const RandomKey& key, index_t first_row, float probability, TensorRef y,
             const Context& context) {
    SY_FITS(x.rows() == y.rows() && x.cols() == y.cols() && first_row >= 0, "dropout: [", x.rows(), ", ",
            x.cols(), "] into [", y.rows(), ", ", y.cols(), "], first row ", first_row);
    check_probability(probability);
    const Timed timed(context, OpKind::elementwise, 2.0 * static_cast<double>(x.num_elements()));
    context.device.bodies().dropout(x, key, first_row, probability, y, context);
}

void dropout_rows(ConstTensorRef x, const DropoutRows& rows, TensorRef y, const Context& context) {
    SY_FITS(y.dtype() == x.dtype(), "dropout: ", dtype_name(x.dtype()), " into ", dtype_name(y.dtype()));
    const auto num_rows = static_cast<std::size_t>(y.rows());
    SY_FITS(x.cols() == y.cols() && rows.stream_row.size() == num_rows &&
                (rows.source.empty() ? x.rows() == y.rows() : rows.source.size() == num_rows),
            "dropout: [", x.rows(), ", ", x.cols(), "] into [", y.rows(), ", ", y.cols(), "] with ",
            rows.stream_row.size(), " places in the stream and ", rows.source.size(), " sources");
    check_probability(rows.probability);
    for (const std::int32_t source : rows.source)
        SY_FITS(source >= 0 && source < x.rows(), "dropout: row ", source, " of ", x.rows());
    const Timed timed(context, OpKind::elementwise, 2.0 * static_cast<double>(y.num_elements()));
    context.device.bodies().dropout_rows(x, rows, y, context);
}

}  // namespace sy::ops
