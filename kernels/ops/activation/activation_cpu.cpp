#include "kernels/ops/activation/rows.hpp"

namespace sy::ops {
namespace {

template <bool gated, class In>
SY_INLINE void keep_row(const Activate<In>& block, index_t r) {
    const float* const gate = detail::row_or_null(block.gate, r);
    const float* const up = detail::row_or_null(block.up, r);
    In* const kept_gate = detail::row_or_null(block.kept_gate, r);
    In* const kept_up = detail::row_or_null(block.kept_up, r);
    simd::for_lanes(
        block.up.cols, [&](index_t i, auto load, auto store) __attribute__((always_inline)) {
            if constexpr (gated) store(kept_gate + i, load(gate + i));
            store(kept_up + i, load(up + i));
        });
}

template <class F, class In>
SY_INLINE void plain_rows(const Activate<In>& block) {
    using Function = typename F::Function;
    for (index_t r = 0; r < block.up.rows; ++r) {
        const float* const gate = detail::row_or_null(block.gate, r);
        const float* const up = detail::row_or_null(block.up, r);
        In* const h = detail::row_or_null(block.h, r);
        const float weight = detail::weight_of(block.weight, r);
        if (block.kept_up.data != nullptr) keep_row<F::kGated>(block, r);
        simd::for_lanes(
            block.up.cols, [&](index_t i, auto load, auto store) __attribute__((always_inline)) {
                if constexpr (F::kGated) {
                    store(h + i, Function::value(load(gate + i)) * load(up + i) * weight);
                } else {
                    store(h + i, Function::value(load(up + i)) * weight);
                }
            });
    }
}

/// With biases what is kept may be what is read: one loop, so that no bias is added twice.
template <class F, class In>
SY_INLINE void biased_rows(const Activate<In>& block) {
    using Function = typename F::Function;
    const float* const gate_bias = block.gate_bias.data();
    const float* const up_bias = block.up_bias.data();
    for (index_t r = 0; r < block.up.rows; ++r) {
        const float* const gate = detail::row_or_null(block.gate, r);
        const float* const up = detail::row_or_null(block.up, r);
        In* const h = detail::row_or_null(block.h, r);
        In* const kept_gate = detail::row_or_null(block.kept_gate, r);
        In* const kept_up = detail::row_or_null(block.kept_up, r);
        const float weight = detail::weight_of(block.weight, r);
        simd::for_lanes(
            block.up.cols, [&](index_t i, auto load, auto store) __attribute__((always_inline)) {
                const simd::f32x16 u = load(up + i) + load(up_bias + i);
                if (kept_up != nullptr) store(kept_up + i, u);
                if constexpr (F::kGated) {
                    const simd::f32x16 g = load(gate + i) + load(gate_bias + i);
                    if (kept_gate != nullptr) store(kept_gate + i, g);
                    store(h + i, Function::value(g) * u * weight);
                } else {
                    store(h + i, Function::value(u) * weight);
                }
            });
    }
}

template <class In>
SY_INLINE void forward_rows(const Activate<In>& block) {
    detail::with_formula(
        block.kind, [&](auto formula) __attribute__((always_inline)) {
            if (block.up_bias.empty()) {
                plain_rows<decltype(formula)>(block);
            } else {
                biased_rows<decltype(formula)>(block);
            }
        });
}

SY_MULTIVERSION void forward_rows_f32(const Activate<float>& block) {
    forward_rows(block);
}
SY_MULTIVERSION void forward_rows_bf16(const Activate<bf16>& block) {
    forward_rows(block);
}

template <class In>
void check(const Activate<In>& block) {
    const bool gated = is_gated(block.kind);
    const bool keeps = block.kept_up.data != nullptr;
    const bool biased = !block.up_bias.empty();
    SY_REQUIRE(detail::fits(block.gate, block.up, detail::present_if(gated)) &&
                   detail::fits(block.h, block.up) &&
                   detail::fits(block.kept_gate, block.up, detail::present_if(gated && keeps)) &&
                   detail::fits(block.kept_up, block.up, detail::present_if(keeps)) &&
                   detail::fits_or_empty(block.up_bias, block.up.cols) &&
                   detail::fits_or_empty(block.gate_bias, block.up.cols) &&
                   block.gate_bias.empty() != (gated && biased) &&
                   detail::fits_or_empty(block.weight, block.up.rows),
               activation_name(block.kind), ": gate [", block.gate.rows, ", ", block.gate.cols, "], up [",
               block.up.rows, ", ", block.up.cols, "], h [", block.h.rows, ", ", block.h.cols, "], kept [",
               block.kept_gate.rows, ", ", block.kept_gate.cols, "] and [", block.kept_up.rows, ", ",
               block.kept_up.cols, "], biases ", block.gate_bias.size(), " and ", block.up_bias.size(), ", ",
               block.weight.size(), " weights");
}

}  // namespace

template <>
void activate<float>(const Activate<float>& block) {
    check(block);
    forward_rows_f32(block);
}
template <>
void activate<bf16>(const Activate<bf16>& block) {
    check(block);
    forward_rows_bf16(block);
}

}  // namespace sy::ops
