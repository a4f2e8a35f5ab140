#include <algorithm>

#include "kernels/core/profile.hpp"
#include "kernels/ops/dropout/dropout.hpp"
#include "kernels/ops/dropout/keep.hpp"

namespace sy::ops {
namespace {

struct DropoutRows {
    MatrixView<const float> x;
    const RandomKey& key;
    index_t first_row;
    detail::KeepRule rule;
    MatrixView<float> y;
};

SY_MULTIVERSION void drop_rows(const DropoutRows& op, Range rows) {
    float factors[simd::kPhiloxWords];
    for (index_t t = rows.begin; t < rows.end; ++t) {
        const index_t first = (op.first_row + t) * op.x.cols;
        const float* const source = op.x.data + t * op.x.stride;
        float* const target = op.y.data + t * op.y.stride;
        for (index_t start = first - first % 4; start < first + op.x.cols; start += simd::kPhiloxWords) {
            detail::keep_factors(op.rule, op.key, static_cast<std::uint64_t>(start / 4), factors);
            const index_t begin = std::max(start, first);
            const index_t end = std::min(start + simd::kPhiloxWords, first + op.x.cols);
            simd::for_lanes(
                end - begin, [&](index_t i, auto load, auto store) __attribute__((always_inline)) {
                    const index_t col = begin - first + i;
                    store(target + col, load(source + col) * load(factors + (begin - start) + i));
                });
        }
    }
}

}  // namespace

void dropout(MatrixView<const float> x, const RandomKey& key, index_t first_row, float probability,
             MatrixView<float> y, const Context& context) {
    SY_REQUIRE(
        x.rows == y.rows && x.cols == y.cols && first_row >= 0 && probability >= 0.0F && probability < 1.0F,
        "dropout: [", x.rows, ", ", x.cols, "] into [", y.rows, ", ", y.cols, "], first row ", first_row,
        ", probability ", probability, " (expected in [0, 1))");
    const Timed timed(context, OpKind::elementwise, 2.0 * static_cast<double>(x.rows * x.cols));
    if (probability == 0.0F) {
        if (x.data == y.data) return;
        context.team.for_ranges(x.rows, 8, [&](index_t begin, index_t end) {
            for (index_t t = begin; t < end; ++t)
                std::copy_n(x.data + t * x.stride, x.cols, y.data + t * y.stride);
        });
        return;
    }
    const DropoutRows op{x, key, first_row, detail::keep_rule(probability), y};
    context.team.for_ranges(x.rows, 8, [&](index_t begin, index_t end) { drop_rows(op, {begin, end}); });
}

}  // namespace sy::ops
