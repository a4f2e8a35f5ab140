#include <algorithm>

#include "kernels/core/profile.hpp"
#include "kernels/core/simd.hpp"
#include "kernels/ops/heads/heads.hpp"

namespace sy::ops {
namespace {

void check(const HeadWidths& widths, MatrixView<const float> expanded, MatrixView<const float> rotary,
           MatrixView<const float> k, MatrixView<const float> v) {
    if (widths.fit(expanded, rotary, k, v)) return;
    throw ShapeError(concat("heads: ", widths.heads, " of ", widths.plain, " plain, ", widths.rotary,
                            " rotary and ", widths.value, " value columns, between expanded [", expanded.rows,
                            ", ", expanded.cols, "], rotary [", rotary.rows, ", ", rotary.cols, "], keys [",
                            k.rows, ", ", k.cols, "] and values [", v.rows, ", ", v.cols, "]"));
}

/// sums[i] = sum over the heads of the rotary parts of one row of keys.
void sum_rotary(const HeadWidths& widths, const float* keys, float* sums) {
    const float* const first = keys + widths.plain;
    const index_t stride = widths.key();
    simd::for_isa([=]() SY_BODY {
        simd::for_lanes(widths.rotary, [&](index_t i, auto load, auto store) SY_BODY {
            simd::f32x16 sum{};
            for (index_t h = 0; h < widths.heads; ++h) sum += load(first + h * stride + i);
            store(sums + i, sum);
        });
    });
}

}  // namespace

bool HeadWidths::fit(MatrixView<const float> expanded_rows, MatrixView<const float> rotary_rows,
                     MatrixView<const float> k, MatrixView<const float> v) const {
    const index_t rows = k.rows;
    return heads > 0 && expanded_rows.rows == rows && rotary_rows.rows == rows && v.rows == rows &&
           expanded_rows.cols == expanded() && rotary_rows.cols == rotary && k.cols == heads * key() &&
           v.cols == heads * value;
}

void spread_heads(const HeadWidths& widths, MatrixView<const float> expanded, MatrixView<const float> rotary,
                  MatrixView<float> k, MatrixView<float> v, const Context& context) {
    check(widths, expanded, rotary, k, v);
    const Timed timed(context, OpKind::elementwise, 0.0);
    context.team.for_ranges(k.rows, 8, [&](index_t begin, index_t end) {
        for (index_t t = begin; t < end; ++t) {
            const float* from = expanded.row(t);
            float* key = k.row(t);
            float* value = v.row(t);
            for (index_t h = 0; h < widths.heads; ++h) {
                key = std::copy_n(from, widths.plain, key);
                key = std::copy_n(rotary.row(t), widths.rotary, key);
                value = std::copy_n(from + widths.plain, widths.value, value);
                from += widths.plain + widths.value;
            }
        }
    });
}

void gather_heads(const HeadWidths& widths, MatrixView<const float> dk, MatrixView<const float> dv,
                  MatrixView<float> dexpanded, MatrixView<float> drotary, const Context& context) {
    check(widths, dexpanded, drotary, dk, dv);
    const Timed timed(context, OpKind::elementwise,
                      static_cast<double>(dk.rows * widths.heads * widths.rotary));
    context.team.for_ranges(dk.rows, 8, [&](index_t begin, index_t end) {
        for (index_t t = begin; t < end; ++t) {
            float* to = dexpanded.row(t);
            for (index_t h = 0; h < widths.heads; ++h) {
                to = std::copy_n(dk.row(t) + h * widths.key(), widths.plain, to);
                to = std::copy_n(dv.row(t) + h * widths.value, widths.value, to);
            }
            sum_rotary(widths, dk.row(t), drotary.row(t));
        }
    });
}

}  // namespace sy::ops
