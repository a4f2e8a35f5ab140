#include "kernels/ops/quantize/quantize.hpp"

#include "kernels/core/fits.hpp"
#include "kernels/core/profile.hpp"
#include "kernels/ops/bodies.hpp"

namespace sy::ops {

void quantize_rows(ConstTensorRef x, TensorRef out, const Context& context) {
    const index_t bytes = quantized_row_bytes(x.cols());
    SY_FITS(has_sides(out, x.rows(), bytes), "quantize_rows: [", x.rows(), ", ", x.cols(), "] into [",
            out.rows(), ", ", out.cols(), "]; ", bytes, " bytes a row are needed");
    const Timed timed(context, OpKind::routing, static_cast<double>(x.num_elements()));
    context.device.bodies().quantize_rows(x, out, context);
}

void dequantize_rows(ConstTensorRef x, std::span<const std::int32_t> row, TensorRef out,
                     const Context& context) {
    const index_t bytes = quantized_row_bytes(out.cols());
    SY_FITS(out.rows() == static_cast<index_t>(row.size()) && x.cols() == bytes,
            "dequantize_rows: ", row.size(), " rows of ", x.cols(), " bytes into [", out.rows(), ", ",
            out.cols(), "]; ", bytes, " bytes a row are needed");
    for (const std::int32_t i : row)
        SY_FITS(i >= 0 && i < x.rows(), "dequantize_rows: row ", i, " of a matrix of ", x.rows());
    const Timed timed(context, OpKind::routing, static_cast<double>(out.num_elements()));
    context.device.bodies().dequantize_rows(x, row, out, context);
}

}  // namespace sy::ops
