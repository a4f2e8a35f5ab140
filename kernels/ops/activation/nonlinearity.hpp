#pragma once

#include <numbers>

#include "kernels/core/simd_erf.hpp"
#include "kernels/core/simd_tanh.hpp"

/// The functions of kind.hpp on vectors: value(x) for forward, both(x) for backward.
namespace sy::ops::detail {

using simd::f32x16;

/// f of a vector, and its slope.
struct Both {
    f32x16 value;
    f32x16 slope;
};

struct Relu {
    static SY_INLINE f32x16 value(f32x16 x) { return simd::max(f32x16{}, x); }
    static SY_INLINE Both both(f32x16 x) {
        f32x16 slope;
#pragma omp simd
        for (int lane = 0; lane < 16; ++lane) slope[lane] = x[lane] > 0.0F ? 1.0F : 0.0F;
        return {value(x), slope};
    }
};

struct SquaredRelu {
    static SY_INLINE f32x16 value(f32x16 x) {
        const f32x16 positive = simd::max(f32x16{}, x);
        return positive * positive;
    }
    static SY_INLINE Both both(f32x16 x) {
        const f32x16 positive = simd::max(f32x16{}, x);
        return {positive * positive, positive + positive};
    }
};

struct Silu {
    static SY_INLINE f32x16 value(f32x16 x) { return x * simd::sigmoid(x); }
    static SY_INLINE Both both(f32x16 x) {
        const f32x16 s = simd::sigmoid(x);
        return {x * s, s * (1.0F + x * (1.0F - s))};
    }
};

struct Gelu {
    static SY_INLINE f32x16 below(f32x16 x) {
        return 0.5F * (1.0F + simd::erf(x * static_cast<float>(1.0 / std::numbers::sqrt2)));
    }
    static SY_INLINE f32x16 value(f32x16 x) { return x * below(x); }
    static SY_INLINE Both both(f32x16 x) {
        const f32x16 phi = below(x);
        constexpr double kDensityAt0 = 0.5 * std::numbers::inv_sqrtpi * std::numbers::sqrt2;
        const f32x16 density = static_cast<float>(kDensityAt0) * simd::exp(-0.5F * (x * x));
        return {x * phi, phi + x * density};
    }
};

struct GeluTanh {
    static constexpr double kScale = std::numbers::sqrt2 * std::numbers::inv_sqrtpi;
    /// The square of x as far as it matters: beyond, tanh is 1 to the last bit, and infinities would meet zeros.
    static SY_INLINE f32x16 square(f32x16 x) {
        const f32x16 near = simd::min(simd::splat(32.0F), simd::max(simd::splat(-32.0F), x));
        return near * near;
    }
    static SY_INLINE f32x16 inner(f32x16 x, f32x16 square) {
        return static_cast<float>(kScale) * (x + x * (0.044715F * square));
    }
    static SY_INLINE f32x16 value(f32x16 x) { return 0.5F * x * (1.0F + simd::tanh(inner(x, square(x)))); }
    static SY_INLINE Both both(f32x16 x) {
        const f32x16 squared = square(x);
        const f32x16 t = simd::tanh(inner(x, squared));
        const f32x16 half = 0.5F * (1.0F + t);
        const f32x16 inner_slope = static_cast<float>(kScale) * (1.0F + (3.0F * 0.044715F) * squared);
        return {x * half, half + 0.5F * x * ((1.0F - t * t) * inner_slope)};
    }
};

}  // namespace sy::ops::detail
