#pragma once

#include <cstdint>

#include "kernels/core/gradient_ref.hpp"

#if defined(__x86_64__)
#include <immintrin.h>

/// A float of a gradient as whole units of fixed point, where vector registers hold several: what accumulate()
/// (kernels/core/gradient.hpp) does, for those who have checked the range.
namespace sy {

/// Below this, 2^51 units, one addition rounds to whole units without an instruction that makes 64-bit integers.
inline constexpr float kOneStepLimit = 0x1p5F;

/// sums[i] += addends[i] in units, rounded to nearest even, for four addends below kOneStepLimit.
__attribute__((target("avx2,fma"))) inline void add_units_avx2(__m128 addends, std::int64_t* sums) {
    // So large that its last place is a whole unit, and even. Scaling is exact, so it may be part of a fused multiply-add.
    const __m256d magic = _mm256_set1_pd(0x1.8p52);
    const __m256d rounded =
        _mm256_fmadd_pd(_mm256_cvtps_pd(addends), _mm256_set1_pd(1.0 / kGradientUnit), magic);
    const __m256i units = _mm256_sub_epi64(_mm256_castpd_si256(rounded), _mm256_castpd_si256(magic));
    auto* const target = reinterpret_cast<__m256i*>(sums);
    _mm256_storeu_si256(target, _mm256_add_epi64(_mm256_loadu_si256(target), units));
}

/// The same for eight addends below kGradientLimit.
__attribute__((target("arch=x86-64-v4"))) inline void add_units_avx512(__m256 addends, std::int64_t* sums) {
    const __m256 scale = _mm256_set1_ps(static_cast<float>(1.0 / kGradientUnit));
    // The form with a mask, since GCC 12 warns of the other.
    const __m512i units = _mm512_maskz_cvtps_epi64(0xff, _mm256_mul_ps(addends, scale));
    _mm512_storeu_si512(sums, _mm512_add_epi64(_mm512_loadu_si512(sums), units));
}

}  // namespace sy
#endif
