#include <algorithm>

#include "kernels/core/fits.hpp"
#include "kernels/core/profile.hpp"
#include "kernels/core/simd.hpp"
#include "kernels/ops/heads/heads.hpp"
#include "kernels/ops/cpu_bodies.hpp"
#include "kernels/ops/cpu_device.hpp"

namespace sy::ops {
namespace {

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

void on_cpu::spread_heads(const HeadWidths& widths, ConstTensorRef expanded, ConstTensorRef rotary,
                          TensorRef k, TensorRef v, const Context& context) {
    const auto expanded_rows = host<const float>(expanded);
    const auto rotary_rows = host<const float>(rotary);
    const auto keys = host<float>(k);
    const auto values = host<float>(v);
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
    const auto keys = host<const float>(dk);
    const auto values = host<const float>(dv);
    const auto expanded_rows = host<float>(dexpanded);
    const auto rotary_rows = host<float>(drotary);
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
