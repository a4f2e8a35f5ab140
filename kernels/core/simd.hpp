#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

#include "kernels/core/dtype.hpp"

/// Sixteen float lanes as a GCC/Clang vector, whatever the machine: with AVX-512 one register, with AVX2 two,
/// elsewhere what the compiler makes of it. Lanes and the order of sums are fixed, so every instruction set
/// gives the same bits (products and sums are separate roundings: contraction is off).
///
/// Mark the function that loops over a range of rows with SY_MULTIVERSION: it is compiled once for each
/// instruction set and chosen when the program starts. Helpers it calls must be SY_INLINE to follow it.
#define SY_INLINE inline __attribute__((always_inline))
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(SY_NO_MULTIVERSION)
#define SY_MULTIVERSION __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define SY_MULTIVERSION
#endif

namespace sy::simd {

inline constexpr index_t kLanes = 16;
using f32x16 = float __attribute__((vector_size(64)));
using i32x16 = std::int32_t __attribute__((vector_size(64)));

SY_INLINE f32x16 load(const float* source) {
    f32x16 value;
    std::memcpy(&value, source, sizeof(value));
    return value;
}
SY_INLINE void store(float* target, f32x16 value) {
    std::memcpy(target, &value, sizeof(value));
}
SY_INLINE f32x16 splat(float value) {
    return f32x16{} + value;
}

/// The first `count` (< 16) elements, other lanes `fill`.
SY_INLINE f32x16 load_part(const float* source, index_t count, float fill = 0.0F) {
    f32x16 value = splat(fill);
    std::memcpy(&value, source, static_cast<std::size_t>(count) * sizeof(float));
    return value;
}
SY_INLINE void store_part(float* target, f32x16 value, index_t count) {
    std::memcpy(target, &value, static_cast<std::size_t>(count) * sizeof(float));
}

/// Sixteen bf16 widened, and sixteen floats rounded to nearest even (NaN stays NaN).
SY_INLINE f32x16 load(const bf16* source) {
    std::uint16_t halves[16];
    std::memcpy(halves, source, sizeof(halves));
    std::uint32_t words[16];
    for (int lane = 0; lane < 16; ++lane) words[lane] = static_cast<std::uint32_t>(halves[lane]) << 16;
    f32x16 value;
    std::memcpy(&value, words, sizeof(value));
    return value;
}
SY_INLINE void store(bf16* target, f32x16 value) {
    std::uint32_t words[16];
    std::memcpy(words, &value, sizeof(words));
    std::uint16_t halves[16];
    for (int lane = 0; lane < 16; ++lane) {
        const std::uint32_t rounded = (words[lane] + 0x7fffU + ((words[lane] >> 16) & 1U)) >> 16;
        const std::uint32_t quiet = (words[lane] >> 16) | 0x40U;
        halves[lane] =
            static_cast<std::uint16_t>((words[lane] & 0x7fffffffU) > 0x7f800000U ? quiet : rounded);
    }
    std::memcpy(target, halves, sizeof(halves));
}
SY_INLINE f32x16 load_part(const bf16* source, index_t count) {
    bf16 lanes[16] = {};
    std::memcpy(lanes, source, static_cast<std::size_t>(count) * sizeof(bf16));
    return load(lanes);
}
SY_INLINE void store_part(bf16* target, f32x16 value, index_t count) {
    bf16 lanes[16];
    store(lanes, value);
    std::memcpy(target, lanes, static_cast<std::size_t>(count) * sizeof(bf16));
}

/// Calls body(i, load, store) for i = 0, 16, ... over a row of `count` elements: full vectors, then the tail with
/// zero-filled lanes. load(pointer) and store(pointer, vector) take the address of element i.
template <class Body>
SY_INLINE void for_lanes(index_t count, Body body) {
    index_t i = 0;
    for (; i + kLanes <= count; i += kLanes) {
        body(
            i, [](const auto* p) __attribute__((always_inline)) { return load(p); },
            [](auto* p, f32x16 v) __attribute__((always_inline)) { store(p, v); });
    }
    if (i < count) {
        const index_t rest = count - i;
        body(
            i, [rest](const auto* p) __attribute__((always_inline)) { return load_part(p, rest); },
            [rest](auto* p, f32x16 v) __attribute__((always_inline)) { store_part(p, v, rest); });
    }
}

/// Sum of the lanes as a fixed binary tree: (0+8)+(4+12), ...
SY_INLINE float sum(f32x16 value) {
    float lanes[16];
    std::memcpy(lanes, &value, sizeof(lanes));
    for (int width = 8; width >= 1; width /= 2) {
        for (int lane = 0; lane < width; ++lane) lanes[lane] += lanes[lane + width];
    }
    return lanes[0];
}
SY_INLINE f32x16 max(f32x16 a, f32x16 b) {
    return a > b ? a : b;
}
SY_INLINE f32x16 min(f32x16 a, f32x16 b) {
    return a < b ? a : b;
}
SY_INLINE float max_lane(f32x16 value) {
    float lanes[16];
    std::memcpy(lanes, &value, sizeof(lanes));
    float largest = lanes[0];
    for (int lane = 1; lane < 16; ++lane) largest = lanes[lane] > largest ? lanes[lane] : largest;
    return largest;
}

/// e^x to 2 units in the last place; 0 below -87.3, infinity above 88.7, NaN stays NaN.
/// x = n ln 2 + r with |r| <= ln 2 / 2, then a polynomial of degree 6 in r (Cephes expf's coefficients).
SY_INLINE f32x16 exp(f32x16 x) {
    const f32x16 low = splat(-87.33F);
    const f32x16 high = splat(88.72F);
    const f32x16 clamped = min(max(x, low), high);
    // Adding 1.5 * 2^23 rounds to an integer, which then stands in the low bits.
    const f32x16 magic = splat(12582912.0F);
    const f32x16 shifted = clamped * 1.44269504F + magic;
    const f32x16 n = shifted - magic;
    const f32x16 r = clamped - n * 0.693359375F - n * -2.12194440e-4F;
    f32x16 p = splat(1.9875691500e-4F);
    p = p * r + 1.3981999507e-3F;
    p = p * r + 8.3334519073e-3F;
    p = p * r + 4.1665795894e-2F;
    p = p * r + 1.6666665459e-1F;
    p = p * r + 5.0000001201e-1F;
    const f32x16 y = p * (r * r) + r + 1.0F;
    i32x16 exponent;
    std::memcpy(&exponent, &shifted, sizeof(exponent));
    // n = 128 at the upper end: the scale is applied as two factors so that neither overflows.
    const i32x16 whole = exponent - 0x4b400000;
    const i32x16 half = whole >> 1;
    const i32x16 first_bits = (half + 127) << 23;
    const i32x16 second_bits = (whole - half + 127) << 23;
    f32x16 first;
    f32x16 second;
    std::memcpy(&first, &first_bits, sizeof(first));
    std::memcpy(&second, &second_bits, sizeof(second));
    f32x16 result = y * first * second;
    result = x < low ? f32x16{} : result;
    result = x > high ? splat(__builtin_inff()) : result;
    return x != x ? x : result;
}

SY_INLINE f32x16 sigmoid(f32x16 x) {
    return 1.0F / (1.0F + exp(-x));
}

}  // namespace sy::simd
