#pragma once

#include "kernels/core/simd.hpp"

namespace sy::simd {

/// tanh x to 2 units in the last place, odd, -1 and 1 at the ends; NaN stays NaN. From 0.8 on 1 - 2 / (e^2|x| + 1),
/// where the difference costs little; below it x + x^3 P(x^2), P of degree 5 (minimax, relative error 4e-9), so that
/// small arguments keep their digits.
SY_INLINE f32x16 tanh(f32x16 x) {
    u32x16 bits;
    std::memcpy(&bits, &x, sizeof(bits));
    const u32x16 sign = bits & 0x80000000U;
    const u32x16 positive = bits ^ sign;
    f32x16 size;
    std::memcpy(&size, &positive, sizeof(size));
    const f32x16 large = 1.0F - 2.0F / (exp(size + size) + 1.0F);
    const f32x16 square = size * size;
    f32x16 tail = splat(1.5847518807e-3F);
    tail = fma(tail, square, splat(-7.4095488526e-3F));
    tail = fma(tail, square, splat(2.1302985027e-2F));
    tail = fma(tail, square, splat(-5.3852330893e-2F));
    tail = fma(tail, square, splat(1.3332220912e-1F));
    tail = fma(tail, square, splat(-3.3333298564e-1F));
    const f32x16 small = fma(size * square, tail, size);
    f32x16 result;
#pragma omp simd
    for (int lane = 0; lane < 16; ++lane) result[lane] = size[lane] < 0.8F ? small[lane] : large[lane];
    std::memcpy(&bits, &result, sizeof(bits));
    bits |= sign;
    std::memcpy(&result, &bits, sizeof(result));
    return result;
}

}  // namespace sy::simd
