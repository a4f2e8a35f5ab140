#include <algorithm>
#include <cstring>

#include "kernels/core/fits.hpp"
#include "kernels/core/offsets.hpp"
#include "kernels/core/profile.hpp"
#include "kernels/core/simd.hpp"
#include "kernels/ops/permute/permute.hpp"

namespace sy::ops {
namespace {

/// out = ((first + s0) + s1) + ... in one pass over the columns.
void sum_row(MatrixView<const float> x, const std::int32_t* sources, index_t count, Write write, float* out) {
    simd::for_isa([=]() SY_BODY {
        simd::for_lanes(x.cols, [&](index_t i, auto load, auto store) SY_BODY {
            simd::f32x16 sum{};
            if (write == Write::add) sum = load(out + i);
            for (index_t s = 0; s < count; ++s) sum += load(x.data + sources[s] * x.stride + i);
            store(out + i, sum);
        });
    });
}

void check_rows(std::span<const std::int32_t> rows, index_t num_rows) {
    for (const std::int32_t row : rows) {
        if (row < 0 || row >= num_rows)
            throw ShapeError(concat("permute: row ", row, " of a matrix of ", num_rows));
    }
}

template <class T>
void gather(MatrixView<const T> x, std::span<const std::int32_t> row, MatrixView<T> out,
            const Context& context) {
    SY_FITS(out.rows == static_cast<index_t>(row.size()) && out.cols == x.cols, "gather_rows: ", row.size(),
            " rows of width ", x.cols, " into [", out.rows, ", ", out.cols, "]");
    const Timed timed(context, OpKind::routing, 0.0);
    check_rows(row, x.rows);
    context.team.for_ranges(out.rows, 16, [&](index_t begin, index_t end) {
        for (index_t i = begin; i < end; ++i) {
            std::memcpy(out.row(i), x.row(row[static_cast<std::size_t>(i)]),
                        static_cast<std::size_t>(x.cols) * sizeof(T));
        }
    });
}

}  // namespace

void gather_rows(ConstTensorRef x, std::span<const std::int32_t> row, TensorRef out, const Context& context) {
    SY_FITS(out.dtype() == x.dtype(), "gather_rows: ", dtype_name(x.dtype()), " into ",
            dtype_name(out.dtype()));
    dispatch_dtype(x.dtype(), [&]<class T>() { gather(host<const T>(x), row, host<T>(out), context); });
}

void sum_rows(ConstTensorRef from, std::span<const index_t> offsets, std::span<const std::int32_t> sources,
              Write write, TensorRef to, const Context& context) {
    const auto x = host<const float>(from);
    const auto out = host<float>(to);
    SY_FITS(static_cast<index_t>(offsets.size()) == out.rows + 1 && out.cols == x.cols &&
                offsets.front() >= 0 && offsets.back() <= static_cast<index_t>(sources.size()) &&
                std::is_sorted(offsets.begin(), offsets.end()),
            "sum_rows: ", offsets.size(), " offsets and ", sources.size(), " sources for [", out.rows, ", ",
            out.cols, "]");
    const Timed timed(context, OpKind::routing,
                      static_cast<double>((offsets.back() - offsets.front()) * x.cols));
    check_rows(part(sources, {offsets.front(), offsets.back()}), x.rows);
    context.team.for_ranges(out.rows, 16, [&](index_t begin, index_t end) {
        for (index_t r = begin; r < end; ++r) {
            const Range of_row = group_of(offsets, r);
            sum_row(x, sources.data() + of_row.begin, of_row.size(), write, out.row(r));
        }
    });
}

}  // namespace sy::ops
