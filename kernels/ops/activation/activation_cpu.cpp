#include "kernels/core/simd.hpp"
#include "kernels/ops/activation/activation.hpp"

namespace sy::ops {
namespace {

/// A matrix that has the sides of `like`, or none where that is allowed.
template <class T, class Like>
bool fits(const MatrixView<T>& x, const MatrixView<Like>& like) {
    return x.rows == like.rows && x.cols == like.cols;
}
template <class T>
bool fits(std::span<T> rows, index_t num_rows) {
    return rows.empty() || static_cast<index_t>(rows.size()) == num_rows;
}

float weight_of(std::span<const float> weight, index_t row) {
    return weight.empty() ? 1.0F : weight[static_cast<std::size_t>(row)];
}

template <class In>
SY_INLINE void forward_rows(const Swiglu<In>& block) {
    for (index_t r = 0; r < block.gate.rows; ++r) {
        const float* const gate = block.gate.data + r * block.gate.stride;
        const float* const up = block.up.data + r * block.up.stride;
        In* const h = block.h.data + r * block.h.stride;
        const float weight = weight_of(block.weight, r);
        if (block.kept_gate.data != nullptr) {
            In* const kept_gate = block.kept_gate.data + r * block.kept_gate.stride;
            In* const kept_up = block.kept_up.data + r * block.kept_up.stride;
            simd::for_lanes(
                block.gate.cols, [&](index_t i, auto load, auto store) __attribute__((always_inline)) {
                    store(kept_gate + i, load(gate + i));
                    store(kept_up + i, load(up + i));
                });
        }
        simd::for_lanes(
            block.gate.cols, [&](index_t i, auto load, auto store) __attribute__((always_inline)) {
                const simd::f32x16 g = load(gate + i);
                store(h + i, g * simd::sigmoid(g) * load(up + i) * weight);
            });
    }
}

SY_MULTIVERSION void forward_rows_f32(const Swiglu<float>& block) {
    forward_rows(block);
}
SY_MULTIVERSION void forward_rows_bf16(const Swiglu<bf16>& block) {
    forward_rows(block);
}

template <class In>
SY_INLINE void backward_rows(const SwigluBackward<In>& block) {
    for (index_t r = 0; r < block.gate.rows; ++r) {
        const In* const gate = block.gate.data + r * block.gate.stride;
        const In* const up = block.up.data + r * block.up.stride;
        const float* const dh = block.dh.data + r * block.dh.stride;
        In* const h = block.h.data + r * block.h.stride;
        In* const dgate = block.dgate.data + r * block.dgate.stride;
        In* const dup = block.dup.data + r * block.dup.stride;
        const float weight = weight_of(block.weight, r);
        simd::f32x16 dot{};
        simd::for_lanes(
            block.gate.cols, [&](index_t i, auto load, auto store) __attribute__((always_inline)) {
                const simd::f32x16 g = load(gate + i);
                const simd::f32x16 u = load(up + i);
                const simd::f32x16 unweighted = load(dh + i);
                const simd::f32x16 s = simd::sigmoid(g);
                const simd::f32x16 silu = g * s;
                const simd::f32x16 activated = silu * u;
                const simd::f32x16 d = unweighted * weight;
                dot += activated * unweighted;
                store(h + i, activated * weight);
                store(dgate + i, d * u * (s * (1.0F + g * (1.0F - s))));
                store(dup + i, d * silu);
            });
        if (!block.dot.empty()) block.dot[static_cast<std::size_t>(r)] = simd::sum(dot);
    }
}

SY_MULTIVERSION void backward_rows_f32(const SwigluBackward<float>& block) {
    backward_rows(block);
}
SY_MULTIVERSION void backward_rows_bf16(const SwigluBackward<bf16>& block) {
    backward_rows(block);
}

template <class In>
void check(const Swiglu<In>& block) {
    const bool keeps = block.kept_gate.data != nullptr;
    SY_REQUIRE(fits(block.up, block.gate) && fits(block.h, block.gate) &&
                   fits(block.weight, block.gate.rows) && keeps == (block.kept_up.data != nullptr) &&
                   (!keeps || (fits(block.kept_gate, block.gate) && fits(block.kept_up, block.gate))),
               "swiglu: gate [", block.gate.rows, ", ", block.gate.cols, "], up [", block.up.rows, ", ",
               block.up.cols, "], h [", block.h.rows, ", ", block.h.cols, "], ", block.weight.size(),
               " weights");
}
template <class In>
void check(const SwigluBackward<In>& block) {
    SY_REQUIRE(fits(block.up, block.gate) && fits(block.dh, block.gate) && fits(block.h, block.gate) &&
                   fits(block.dgate, block.gate) && fits(block.dup, block.gate) &&
                   fits(block.weight, block.gate.rows) && fits(block.dot, block.gate.rows),
               "swiglu_backward: gate [", block.gate.rows, ", ", block.gate.cols, "], up [", block.up.rows,
               ", ", block.up.cols, "], dh [", block.dh.rows, ", ", block.dh.cols, "], ", block.weight.size(),
               " weights, ", block.dot.size(), " dots");
}

}  // namespace

template <>
void swiglu<float>(const Swiglu<float>& block) {
    check(block);
    forward_rows_f32(block);
}
template <>
void swiglu<bf16>(const Swiglu<bf16>& block) {
    check(block);
    forward_rows_bf16(block);
}
template <>
void swiglu_backward<float>(const SwigluBackward<float>& block) {
    check(block);
    backward_rows_f32(block);
}
template <>
void swiglu_backward<bf16>(const SwigluBackward<bf16>& block) {
    check(block);
    backward_rows_bf16(block);
}

}  // namespace sy::ops
