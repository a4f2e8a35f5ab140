// What kernel_body.hpp needs of 512-bit registers, but for multiply_add. SY_TARGET is the includer's.
#include <immintrin.h>

#include <bit>
#include <cstddef>
#include <cstdint>

#include "kernels/core/gradient_units.hpp"

#define SY_TARGET_INLINE inline __attribute__((always_inline)) SY_TARGET

namespace sy::ops::detail {
namespace {

using vector_t = __m512;
constexpr std::size_t kLanes = 16;
/// How many of the 32 registers hold sums; the rest is for rows of B and values of A.
constexpr std::size_t kMostSums = 24;
SY_TARGET_INLINE vector_t zero() {
    return _mm512_setzero_ps();
}
SY_TARGET_INLINE vector_t load(const float* source) {
    return _mm512_loadu_ps(source);
}
SY_TARGET_INLINE void store(float* target, vector_t value) {
    _mm512_storeu_ps(target, value);
}
SY_TARGET_INLINE vector_t broadcast(float word) {
    return _mm512_set1_ps(word);
}

struct Largest {
    __m512i bits;
    SY_TARGET_INLINE Largest() : bits(_mm512_setzero_si512()) {}
    SY_TARGET_INLINE void take(vector_t value) {
        const __m512i size = _mm512_and_si512(_mm512_castps_si512(value), _mm512_set1_epi32(0x7fffffff));
        // The form with a mask, since GCC 12 warns of the other.
        bits = _mm512_maskz_max_epi32(0xffff, bits, size);
    }
    SY_TARGET_INLINE bool is_below(float limit) const {
        return _mm512_cmplt_epi32_mask(bits, _mm512_set1_epi32(std::bit_cast<std::int32_t>(limit))) == 0xffff;
    }
};
constexpr float kUnitsLimit = kGradientLimit;
SY_TARGET_INLINE void add_units(std::int64_t* sums, vector_t value) {
    // Not by intrinsics, of which GCC 12 warns.
    add_units_avx512(__builtin_shufflevector(value, value, 0, 1, 2, 3, 4, 5, 6, 7), sums);
    add_units_avx512(__builtin_shufflevector(value, value, 8, 9, 10, 11, 12, 13, 14, 15), sums + 8);
}

/// Registers of a row of C where B is read in place: all that there are for so few rows, even, and not more than sixteen.
constexpr std::size_t in_place_vectors(std::size_t num_rows) {
    return num_rows == 1 ? 16 : num_rows <= 3 ? 8 : num_rows == 4 ? 6 : num_rows == 5 ? 4 : 2;
}

}  // namespace
}  // namespace sy::ops::detail
