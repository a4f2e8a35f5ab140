#pragma once

#include <array>

#include "kernels/core/philox.hpp"
#include "kernels/core/simd.hpp"

/// Philox4x32-10 on sixteen counters at once: the words of `philox`, for loops over many elements.
namespace sy::simd {

/// Words of philox(key, first + b) for b = 0 .. 15: element 4 b + w is word w of block b.
inline constexpr index_t kPhiloxWords = 64;
using PhiloxWords = std::array<std::uint32_t, kPhiloxWords>;

SY_INLINE u32x16 high_product(u32x16 a, std::uint32_t factor) {
    u32x16 result;
#pragma omp simd
    for (int lane = 0; lane < 16; ++lane) {
        result[lane] = static_cast<std::uint32_t>((std::uint64_t{a[lane]} * std::uint64_t{factor}) >> 32);
    }
    return result;
}

/// With the multipliers and key increments of the paper.
SY_INLINE void philox_words(const RandomKey& key, std::uint64_t first, PhiloxWords& words) {
    const PhiloxInput in = philox_input(key, first);
    const u32x16 lane{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    u32x16 c0 = lane + in.counter[0];
    // The carry into the upper word: the sum's top bit is lost where both or either had it.
    u32x16 c1 = in.counter[1] + (((lane & in.counter[0]) | ((lane | in.counter[0]) & ~c0)) >> 31);
    u32x16 c2 = u32x16{} + in.counter[2];
    u32x16 c3 = u32x16{} + in.counter[3];
    std::uint32_t k0 = in.key[0];
    std::uint32_t k1 = in.key[1];
    constexpr std::uint32_t kFactor0 = 0xD2511F53U;
    constexpr std::uint32_t kFactor1 = 0xCD9E8D57U;
    for (int round = 0; round < 10; ++round) {
        const u32x16 high0 = high_product(c0, kFactor0);
        const u32x16 high1 = high_product(c2, kFactor1);
        const u32x16 low0 = c0 * kFactor0;
        const u32x16 low1 = c2 * kFactor1;
        c0 = high1 ^ c1 ^ k0;
        c1 = low1;
        c2 = high0 ^ c3 ^ k1;
        c3 = low0;
        k0 += 0x9E3779B9U;
        k1 += 0xBB67AE85U;
    }
#pragma omp simd
    for (int block = 0; block < 16; ++block) {
        words[static_cast<std::size_t>(4 * block)] = c0[block];
        words[static_cast<std::size_t>(4 * block + 1)] = c1[block];
        words[static_cast<std::size_t>(4 * block + 2)] = c2[block];
        words[static_cast<std::size_t>(4 * block + 3)] = c3[block];
    }
}

}  // namespace sy::simd
