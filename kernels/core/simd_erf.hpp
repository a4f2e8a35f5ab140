#pragma once

#include "kernels/core/simd.hpp"

namespace sy::simd {

/// erf x to 2 units in the last place, odd, -1 and 1 at the ends; NaN stays NaN. From 0.9 on 1 - e^-Q(|x|) with Q, of
/// degree 6, minus the logarithm of erfc; below it x + x P(x^2), P of degree 5, so that small arguments keep their
/// digits (both minimax, relative errors of erf 6e-9 and 1.2e-8).
SY_INLINE f32x16 erf(f32x16 x) {
    u32x16 bits;
    std::memcpy(&bits, &x, sizeof(bits));
    const u32x16 sign = bits & 0x80000000U;
    const u32x16 positive = bits ^ sign;
    f32x16 size;
    std::memcpy(&size, &positive, sizeof(size));
    // Beyond 4 erf is 1 to the last bit, as it is at 4; the polynomial would decrease again. NaN passes (see min).
    const f32x16 near = min(splat(4.0F), size);
    f32x16 exponent = splat(-1.6918176e-4F);
    exponent = fma(exponent, near, splat(2.8093038e-3F));
    exponent = fma(exponent, near, splat(-2.1398557e-2F));
    exponent = fma(exponent, near, splat(1.0240957e-1F));
    exponent = fma(exponent, near, splat(6.3871390e-1F));
    exponent = fma(exponent, near, splat(1.12687445F));
    exponent = fma(exponent, near, splat(3.6606513e-4F));
    const f32x16 large = 1.0F - exp(-exponent);
    const f32x16 square = size * size;
    f32x16 tail = splat(-6.0903601e-4F);
    tail = fma(tail, square, splat(5.0119627e-3F));
    tail = fma(tail, square, splat(-2.6778908e-2F));
    tail = fma(tail, square, splat(1.1282141e-1F));
    tail = fma(tail, square, splat(-3.7612525e-1F));
    tail = fma(tail, square, splat(1.28379151e-1F));
    const f32x16 small = fma(size, tail, size);
    f32x16 result;
#pragma omp simd
    for (int lane = 0; lane < 16; ++lane) result[lane] = size[lane] < 0.9F ? small[lane] : large[lane];
    std::memcpy(&bits, &result, sizeof(bits));
    bits |= sign;
    std::memcpy(&result, &bits, sizeof(result));
    return result;
}

}  // namespace sy::simd
