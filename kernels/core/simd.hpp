#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

#include "kernels/core/dtype.hpp"
#include "kernels/core/isa.hpp"

/// Sixteen float lanes as a GCC/Clang vector, whatever the machine: with AVX-512 one register, with AVX2 two,
/// elsewhere what the compiler makes of it. Lanes and the order of sums are fixed, and a product and a sum are
/// one rounding only where simd::fma says so (contraction is off), so every instruction set gives the same bits.
///
/// Comparisons and conditional accesses are loops over lanes: the compiler makes one masked or blended
/// instruction of them, whereas `a > b ? c : d` on whole vectors falls apart into scalars below AVX-512.
///
/// A loop over a range of rows is given to for_isa: it is compiled once for each instruction set and chosen by the
/// process's isa(). Helpers it calls must be SY_INLINE to follow it.
#define SY_INLINE inline __attribute__((always_inline))
/// Marks the lambda given to for_isa and those inside it: [=]() SY_BODY { ... }.
#define SY_BODY __attribute__((always_inline))

namespace sy::simd {

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(SY_ONE_ISA)
namespace detail {
template <class Body>
__attribute__((target("arch=x86-64-v4"), noinline)) auto run_v4(Body body) {
    return body();
}
template <class Body>
__attribute__((target("arch=x86-64-v3"), noinline)) auto run_v3(Body body) {
    return body();
}
/// For processors of before 2013, and tests. It has no instruction for simd::fma, so each becomes sixteen calls, which
/// took the compiler longer to optimise than both other bodies.
template <class Body>
__attribute__((optimize("O1"), noinline)) auto run_generic(Body body) {
    return body();
}
}  // namespace detail

/// Calls body, compiled once for each instruction set, as the process's isa() says.
/// @param body  a lambda marked SY_BODY around a loop over a range of rows; it captures by value, so that its captures
///              can be registers; what it calls is SY_INLINE. It neither captures nor returns vectors: how these are
///              passed depends on the instruction set.
template <class Body>
auto for_isa(Body body) {
    const Isa chosen = isa();
    if (chosen >= Isa::avx512) return detail::run_v4(body);
    if (chosen == Isa::avx2) return detail::run_v3(body);
    return detail::run_generic(body);
}
#else
/// The one body for all that this build has.
template <class Body>
auto for_isa(Body body) {
    return body();
}
#endif

inline constexpr index_t kLanes = 16;
using f32x16 = float __attribute__((vector_size(64)));
using i32x16 = std::int32_t __attribute__((vector_size(64)));
using u32x16 = std::uint32_t __attribute__((vector_size(64)));
using u16x16 = std::uint16_t __attribute__((vector_size(32)));

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

/// The first `count` (< 16) elements, other lanes `fill`; nothing beyond them is touched.
SY_INLINE f32x16 load_part(const float* source, index_t count, float fill = 0.0F) {
    const int last = static_cast<int>(count);
    f32x16 value;
#pragma omp simd
    for (int lane = 0; lane < 16; ++lane) value[lane] = lane < last ? source[lane] : fill;
    return value;
}
SY_INLINE void store_part(float* target, f32x16 value, index_t count) {
    const int last = static_cast<int>(count);
#pragma omp simd
    for (int lane = 0; lane < 16; ++lane) {
        if (lane < last) target[lane] = value[lane];
    }
}

namespace detail {
SY_INLINE f32x16 widen(u16x16 halves) {
    const u32x16 words = __builtin_convertvector(halves, u32x16) << 16;
    f32x16 value;
    std::memcpy(&value, &words, sizeof(value));
    return value;
}
SY_INLINE u16x16 narrow(f32x16 value) {
    u32x16 words;
    std::memcpy(&words, &value, sizeof(words));
    // All ones where the value is NaN, from the sign of a difference: a comparison would fall apart (see above).
    const u32x16 nan = 0U - ((0x7f800000U - (words & 0x7fffffffU)) >> 31);
    const u32x16 upper = words >> 16;
    const u32x16 rounded = (words + 0x7fffU + (upper & 1U)) >> 16;
    return __builtin_convertvector((rounded & ~nan) | ((upper | 0x40U) & nan), u16x16);
}
}  // namespace detail

/// Sixteen bf16 widened, and sixteen floats rounded to nearest even (NaN stays NaN).
SY_INLINE f32x16 load(const bf16* source) {
    u16x16 halves;
    std::memcpy(&halves, source, sizeof(halves));
    return detail::widen(halves);
}
SY_INLINE void store(bf16* target, f32x16 value) {
    const u16x16 halves = detail::narrow(value);
    std::memcpy(static_cast<void*>(target), &halves, sizeof(halves));
}
SY_INLINE f32x16 load_part(const bf16* source, index_t count) {
    const int last = static_cast<int>(count);
    u16x16 halves;
#pragma omp simd
    for (int lane = 0; lane < 16; ++lane) halves[lane] = lane < last ? source[lane].bits : std::uint16_t{0};
    return detail::widen(halves);
}
SY_INLINE void store_part(bf16* target, f32x16 value, index_t count) {
    const int last = static_cast<int>(count);
    const u16x16 halves = detail::narrow(value);
#pragma omp simd
    for (int lane = 0; lane < 16; ++lane) {
        if (lane < last) target[lane].bits = halves[lane];
    }
}

/// Calls body(i, load, store) for i = 0, 16, ... over a row of `count` elements: full vectors, then the tail with
/// zero-filled lanes. load(pointer) and store(pointer, vector) take the address of element i.
template <class Body>
SY_INLINE void for_lanes(index_t count, Body body) {
    index_t i = 0;
    for (; i + kLanes <= count; i += kLanes) {
        body(
            i, [](const auto* p) SY_BODY { return load(p); }, [](auto* p, f32x16 v) SY_BODY { store(p, v); });
    }
    if (i < count) {
        const index_t rest = count - i;
        body(
            i, [rest](const auto* p) SY_BODY { return load_part(p, rest); },
            [rest](auto* p, f32x16 v) SY_BODY { store_part(p, v, rest); });
    }
}

/// a * b + c, rounded once. A library call per lane where the machine has no such instruction.
SY_INLINE f32x16 fma(f32x16 a, f32x16 b, f32x16 c) {
    f32x16 result;
#pragma omp simd
    for (int lane = 0; lane < 16; ++lane) result[lane] = __builtin_fmaf(a[lane], b[lane], c[lane]);
    return result;
}
/// The larger and the smaller of each pair of lanes; `b` where either is NaN.
SY_INLINE f32x16 max(f32x16 a, f32x16 b) {
    f32x16 result;
#pragma omp simd
    for (int lane = 0; lane < 16; ++lane) result[lane] = a[lane] > b[lane] ? a[lane] : b[lane];
    return result;
}
SY_INLINE f32x16 min(f32x16 a, f32x16 b) {
    f32x16 result;
#pragma omp simd
    for (int lane = 0; lane < 16; ++lane) result[lane] = a[lane] < b[lane] ? a[lane] : b[lane];
    return result;
}

/// Sum of the lanes as a fixed binary tree: (0+8)+(4+12), ...
SY_INLINE float sum(f32x16 value) {
    using f32x8 = float __attribute__((vector_size(32)));
    using f32x4 = float __attribute__((vector_size(16)));
    const f32x8 eight = __builtin_shufflevector(value, value, 0, 1, 2, 3, 4, 5, 6, 7) +
                        __builtin_shufflevector(value, value, 8, 9, 10, 11, 12, 13, 14, 15);
    const f32x4 four =
        __builtin_shufflevector(eight, eight, 0, 1, 2, 3) + __builtin_shufflevector(eight, eight, 4, 5, 6, 7);
    return (four[0] + four[2]) + (four[1] + four[3]);
}
/// Largest lane; lanes that are NaN count or not, as they stand.
SY_INLINE float max_lane(f32x16 value) {
    const f32x16 eight = max(
        value, __builtin_shufflevector(value, value, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7));
    const f32x16 four = max(
        eight, __builtin_shufflevector(eight, eight, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11));
    const float even = four[0] > four[2] ? four[0] : four[2];
    const float odd = four[1] > four[3] ? four[1] : four[3];
    return even > odd ? even : odd;
}

/// e^x to 1 unit in the last place; 0 below -86.99 (no subnormal results), infinity above 88.7228, NaN stays NaN.
/// x = n ln 2 + r with |r| <= ln 2 / 2; then 2^(n-1) times 2 e^r, so that the scale is a normal number up to the
/// largest float, and 0 for the lowest n. 2 e^r is a polynomial of degree 6 (minimax, relative error 3e-9).
SY_INLINE f32x16 exp(f32x16 x) {
    // Beyond these ends the formulas below give 0 and infinity by themselves. NaN passes (see min and max).
    const f32x16 clamped = min(splat(89.0F), max(splat(-87.3F), x));
    // Adding 1.5 * 2^23 rounds to an integer, which then stands in the low bits.
    const f32x16 magic = splat(12582912.0F);
    const f32x16 shifted = fma(clamped, splat(1.44269504F), magic);
    const f32x16 n = shifted - magic;
    const f32x16 r = fma(n, splat(1.904654299e-9F), fma(n, splat(-0.693147182F), clamped));
    f32x16 twice = splat(2.7629220858e-3F);
    twice = fma(twice, r, splat(1.6737421975e-2F));
    twice = fma(twice, r, splat(8.3336777985e-2F));
    twice = fma(twice, r, splat(3.3333042264e-1F));
    twice = fma(twice, r, splat(9.9999988079e-1F));
    twice = fma(twice, r, splat(2.0F));
    twice = fma(twice, r, splat(2.0F));
    i32x16 exponent;
    std::memcpy(&exponent, &shifted, sizeof(exponent));
    exponent = (exponent << 23) + (126 << 23);
    f32x16 scale;
    std::memcpy(&scale, &exponent, sizeof(scale));
    return twice * scale;
}

SY_INLINE f32x16 sigmoid(f32x16 x) {
    return 1.0F / (1.0F + exp(-x));
}

}  // namespace sy::simd
