#include "kernels/core/simd.hpp"
#include "kernels/ops/activation/activation.hpp"

namespace sy::ops {
namespace {

template <class Out>
SY_INLINE void swiglu_row(const float* gate, const float* up, index_t count, Out* h) {
    simd::for_lanes(
        count, [&](index_t i, auto load, auto store) __attribute__((always_inline)) {
            const simd::f32x16 g = load(gate + i);
            store(h + i, g * simd::sigmoid(g) * load(up + i));
        });
}

SY_MULTIVERSION void swiglu_rows(MatrixView<const float> gate, MatrixView<const float> up,
                                 MatrixView<float> h) {
    for (index_t r = 0; r < gate.rows; ++r) {
        swiglu_row(gate.data + r * gate.stride, up.data + r * up.stride, gate.cols, h.data + r * h.stride);
    }
}

SY_MULTIVERSION void swiglu_rows_bf16(MatrixView<const float> gate, MatrixView<const float> up,
                                      MatrixView<bf16> h) {
    for (index_t r = 0; r < gate.rows; ++r) {
        swiglu_row(gate.data + r * gate.stride, up.data + r * up.stride, gate.cols, h.data + r * h.stride);
    }
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
        const auto row = static_cast<std::size_t>(r);
        const float weight = block.weight.empty() ? 1.0F : block.weight[row];
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
                store(h + i, activated);
                store(dgate + i, d * u * (s * (1.0F + g * (1.0F - s))));
                store(dup + i, d * silu);
            });
        if (!block.dot.empty()) block.dot[row] = simd::sum(dot);
    }
}

SY_MULTIVERSION void backward_rows_f32(const SwigluBackward<float>& block) {
    backward_rows(block);
}
SY_MULTIVERSION void backward_rows_bf16(const SwigluBackward<bf16>& block) {
    backward_rows(block);
}

}  // namespace

void swiglu(MatrixView<const float> gate, MatrixView<const float> up, MatrixView<float> h) {
    swiglu_rows(gate, up, h);
}

void swiglu(MatrixView<const float> gate, MatrixView<const float> up, MatrixView<bf16> h) {
    swiglu_rows_bf16(gate, up, h);
}

template <>
void swiglu_backward<float>(const SwigluBackward<float>& block) {
    backward_rows_f32(block);
}
template <>
void swiglu_backward<bf16>(const SwigluBackward<bf16>& block) {
    backward_rows_bf16(block);
}

}  // namespace sy::ops
