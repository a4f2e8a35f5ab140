#include <algorithm>

#include "kernels/core/fits.hpp"
#include "kernels/core/profile.hpp"
#include "kernels/core/simd.hpp"
#include "kernels/ops/heads/heads.hpp"
#include "kernels/ops/cpu_bodies.hpp"
#include "kernels/ops/cpu_device.hpp"

namespace sy::ops {
namespace {

void check(const HeadWidths& widths, ConstTensorRef expanded, ConstTensorRef rotary, ConstTensorRef k,
           ConstTensorRef v) {
    SY_FITS(widths.fit(expanded, rotary, k, v), "heads: ", widths.heads, " of ", widths.plain, " plain, ",
            widths.rotary, " rotary and ", widths.value, " value columns, between expanded [",
            expanded.rows(), ", ", expanded.cols(), "], rotary [", rotary.rows(), ", ", rotary.cols(),
            "], keys [", k.rows(), ", ", k.cols(), "] and values [", v.rows(), ", ", v.cols(), "]");
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

bool HeadWidths::fit(ConstTensorRef expanded_rows, ConstTensorRef rotary_rows, ConstTensorRef k,
                     ConstTensorRef v) const {
    const index_t rows = k.rows();
    return heads > 0 && expanded_rows.rows() == rows && rotary_rows.rows() == rows && v.rows() == rows &&
           expanded_rows.cols() == expanded() && rotary_rows.cols() == rotary && k.cols() == heads * key() &&
           v.cols() == heads * value;
}

void on_cpu::spread_heads(const HeadWidths& widths, ConstTensorRef expanded, ConstTensorRef rotary,
                          TensorRef k, TensorRef v, const Context& context) {
    check(widths, expanded, rotary, k, v);
    const auto expanded_rows = host<const float>(expanded);
    const auto rotary_rows = host<const float>(rotary);
    const auto keys = host<float>(k);
    const auto values = host<float>(v);
    const Timed timed(context, OpKind::elementwise, 0.0);
    cpu(context).team().for_ranges(keys.rows, 8, [&](index_t begin, index_t end) {
        for (index_t t = begin; t < end; ++t) {
            const float* from = expanded_rows.row(t);
            float* key = keys.row(t);
            float* value = values.row(t);
            for (index_t h = 0; h < widths.heads; ++h) {
                key = std::copy_n(from, widths.plain, key);
                key = std::copy_n(rotary_rows.row(t), widths.rotary, key);
                value = std::copy_n(from + widths.plain, widths.value, value);
                from += widths.plain + widths.value;
            }
        }
    });
}

void on_cpu::gather_heads(const HeadWidths& widths, ConstTensorRef dk, ConstTensorRef dv, TensorRef dexpanded,
                          TensorRef drotary, const Context& context) {
    check(widths, dexpanded, drotary, dk, dv);
    const auto keys = host<const float>(dk);
    const auto values = host<const float>(dv);
    const auto expanded_rows = host<float>(dexpanded);
    const auto rotary_rows = host<float>(drotary);
    const Timed timed(context, OpKind::elementwise,
                      static_cast<double>(keys.rows * widths.heads * widths.rotary));
    cpu(context).team().for_ranges(keys.rows, 8, [&](index_t begin, index_t end) {
        for (index_t t = begin; t < end; ++t) {
            float* to = expanded_rows.row(t);
            for (index_t h = 0; h < widths.heads; ++h) {
                to = std::copy_n(keys.row(t) + h * widths.key(), widths.plain, to);
                to = std::copy_n(values.row(t) + h * widths.value, widths.value, to);
            }
            sum_rotary(widths, keys.row(t), rotary_rows.row(t));
        }
    });
}

}  // namespace sy::ops
