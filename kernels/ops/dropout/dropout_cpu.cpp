#include <algorithm>

#include "kernels/core/fits.hpp"
#include "kernels/core/profile.hpp"
#include "kernels/ops/dropout/dropout.hpp"
#include "kernels/ops/dropout/keep.hpp"
#include "kernels/ops/cpu_bodies.hpp"
#include "kernels/ops/cpu_device.hpp"

namespace sy::ops {
namespace {

struct Stream {
    const RandomKey& key;
    detail::KeepRule rule;
};

/// target = source with elements first .. first + cols of the stream.
template <class In>
SY_INLINE void drop_row(const Stream& stream, index_t first, const In* source, In* target, index_t cols) {
    float factors[simd::kPhiloxWords];
    for (index_t start = first - first % 4; start < first + cols; start += simd::kPhiloxWords) {
        detail::keep_factors(stream.rule, stream.key, static_cast<std::uint64_t>(start / 4), factors);
        const index_t begin = std::max(start, first);
        const index_t end = std::min(start + simd::kPhiloxWords, first + cols);
        simd::for_lanes(end - begin, [&](index_t i, auto load, auto store) SY_BODY {
            const index_t col = begin - first + i;
            store(target + col, load(source + col) * load(factors + (begin - start) + i));
        });
    }
}

struct ConsecutiveRows {
    MatrixView<const float> x;
    Stream stream;
    index_t first_row;
    MatrixView<float> y;
};

void drop_consecutive(const ConsecutiveRows& op, Range rows) {
    simd::for_isa([=, &op]() SY_BODY {
        for (index_t t = rows.begin; t < rows.end; ++t)
            drop_row(op.stream, (op.first_row + t) * op.x.cols, op.x.row(t), op.y.row(t), op.x.cols);
    });
}

template <class In>
struct ScatteredRows {
    MatrixView<const In> x;
    const DropoutRows& rows;
    Stream stream;
    MatrixView<In> y;

    const In* source(index_t i) const {
        return x.row(rows.source.empty() ? i : rows.source[static_cast<std::size_t>(i)]);
    }
};

template <class In>
void drop_scattered(const ScatteredRows<In>& op, Range range) {
    simd::for_isa([=, &op]() SY_BODY {
        for (index_t i = range.begin; i < range.end; ++i) {
            const index_t first = op.rows.stream_row[static_cast<std::size_t>(i)] * op.y.cols;
            drop_row(op.stream, first, op.source(i), op.y.row(i), op.y.cols);
        }
    });
}

}  // namespace

void on_cpu::dropout(ConstTensorRef from, const RandomKey& key, index_t first_row, float probability,
                     TensorRef to, const Context& context) {
    const auto x = host<const float>(from);
    const auto y = host<float>(to);
    if (probability == 0.0F) {
        if (x.data == y.data) return;
        cpu(context).team().for_ranges(x.rows, 8, [&](index_t begin, index_t end) {
            for (index_t t = begin; t < end; ++t)
                std::copy_n(x.data + t * x.stride, x.cols, y.data + t * y.stride);
        });
        return;
    }
    const ConsecutiveRows op{x, {key, detail::keep_rule(probability)}, first_row, y};
    cpu(context).team().for_ranges(x.rows, 8, [&](index_t begin, index_t end) {
        drop_consecutive(op, {begin, end});
    });
}

namespace {

template <class In>
void drop_rows(MatrixView<const In> x, const DropoutRows& rows, MatrixView<In> y, const Context& context) {
    const ScatteredRows<In> op{x, rows, {rows.key, detail::keep_rule(rows.probability)}, y};
    cpu(context).team().for_ranges(y.rows, 8, [&](index_t begin, index_t end) {
        drop_scattered(op, {begin, end});
    });
}

}  // namespace

void on_cpu::dropout_rows(ConstTensorRef x, const DropoutRows& rows, TensorRef y, const Context& context) {
    dispatch_dtype(x.dtype(), [&]<class In>() { drop_rows(host<const In>(x), rows, host<In>(y), context); });
}

}  // namespace sy::ops
