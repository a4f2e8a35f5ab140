#pragma once

#include "kernels/core/philox_lanes.hpp"
#include "kernels/ops/dropout/keep_rule.hpp"

/// Which elements a dropout keeps, sixteen at a time, shared by the operations that drop something.
namespace sy::ops::detail {

/// 0 or rule.factor for elements 4 * first_draw .. + 63 of a stream: four words a draw.
SY_INLINE void keep_factors(const KeepRule& rule, const RandomKey& key, std::uint64_t first_draw,
                            float* factors) {
    simd::PhiloxWords words;
    simd::philox_words(key, first_draw, words);
    const simd::f32x16 kept = simd::splat(rule.factor);
    simd::u32x16 kept_bits;
    std::memcpy(&kept_bits, &kept, sizeof(kept_bits));
    for (std::size_t i = 0; i < words.size(); i += 16) {
        simd::u32x16 cells;
        std::memcpy(&cells, words.data() + i, sizeof(cells));
        // The sign of a difference, for a comparison would fall apart (see simd.hpp): both sides are below 2^23 + 1.
        const simd::u32x16 dropped = ((cells >> 9) - rule.threshold) >> 31;
        const simd::u32x16 bits = kept_bits & (dropped - 1U);
        std::memcpy(factors + i, &bits, sizeof(bits));
    }
}

}  // namespace sy::ops::detail
