#include "kernels/ops/permute/permute.hpp"

#include "kernels/core/fits.hpp"
#include "kernels/core/profile.hpp"
#include "kernels/core/offsets.hpp"
#include "kernels/ops/bodies.hpp"

namespace sy::ops {
namespace {

void check_rows(std::span<const std::int32_t> rows, index_t num_rows) {
    for (const std::int32_t row : rows) {
        if (row < 0 || row >= num_rows)
            throw ShapeError(concat("permute: row ", row, " of a matrix of ", num_rows));
    }
}

void check_places(std::span<const index_t> places, index_t num_rows) {
    for (const index_t place : places) {
        if (place < 0 || place >= num_rows)
            throw ShapeError(concat("permute: place ", place, " in a matrix of ", num_rows, " rows"));
    }
}

}  // namespace

void gather_rows(ConstTensorRef x, std::span<const std::int32_t> row, TensorRef out, const Context& context) {
    SY_FITS(out.dtype() == x.dtype() || (x.dtype() == DType::bf16 && out.dtype() == DType::f32),
            "gather_rows: ", dtype_name(x.dtype()), " into ", dtype_name(out.dtype()));
    SY_FITS(out.rows() == static_cast<index_t>(row.size()) && out.cols() == x.cols(),
            "gather_rows: ", row.size(), " rows of width ", x.cols(), " into [", out.rows(), ", ", out.cols(),
            "]");
    check_rows(row, x.rows());
    const Timed timed(context, OpKind::routing, 0.0);
    context.device.bodies().gather_rows(x, row, out, context);
}

void scatter_rows(ConstTensorRef x, List<index_t> place, TensorRef out, const Context& context) {
    SY_FITS(out.dtype() == x.dtype() && out.cols() == x.cols() && place.size() == x.rows(), "scatter_rows: [",
            x.rows(), ", ", x.cols(), "] ", dtype_name(x.dtype()), " to ", place.size(), " places of [",
            out.rows(), ", ", out.cols(), "] ", dtype_name(out.dtype()));
    if (place.is_of_host()) check_places(place.of_host(), out.rows());
    const Timed timed(context, OpKind::routing, 0.0);
    context.device.bodies().scatter_rows(x, place, out, context);
}

void sum_rows(ConstTensorRef x, std::span<const index_t> offsets, std::span<const std::int32_t> sources,
              Write write, TensorRef out, const Context& context) {
    SY_FITS(static_cast<index_t>(offsets.size()) == out.rows() + 1 && out.cols() == x.cols() &&
                offsets.front() >= 0 && offsets.back() <= static_cast<index_t>(sources.size()) &&
                std::ranges::is_sorted(offsets),
            "sum_rows: ", offsets.size(), " offsets and ", sources.size(), " sources for [", out.rows(), ", ",
            out.cols(), "]");
    SY_FITS(out.dtype() == DType::f32 || (out.dtype() == x.dtype() && write == Write::overwrite),
            "sum_rows: sums of ", dtype_name(x.dtype()), write == Write::add ? " added to " : " into ",
            dtype_name(out.dtype()));
    check_rows(part(sources, {offsets.front(), offsets.back()}), x.rows());
    const Timed timed(context, OpKind::routing,
                      static_cast<double>((offsets.back() - offsets.front()) * x.cols()));
    context.device.bodies().sum_rows(x, offsets, sources, write, out, context);
}

}  // namespace sy::ops
