// What kernel_body.hpp needs of 512-bit registers, but for multiply_add. SY_TARGET is the includer's.
#include <immintrin.h>

#include <cstddef>

#define SY_TARGET_INLINE inline __attribute__((always_inline)) SY_TARGET

namespace sy::ops::detail {
namespace {

using vector_t = __m512;
constexpr std::size_t kLanes = 16;
/// Of 32 registers; the rest is for rows of B and values of A.
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

/// Registers of a row of C where B is read in place: all that there are for so few rows, even, and not more than sixteen.
constexpr std::size_t in_place_vectors(std::size_t num_rows) {
    return num_rows == 1 ? 16 : num_rows <= 3 ? 8 : num_rows == 4 ? 6 : num_rows == 5 ? 4 : 2;
}

}  // namespace
}  // namespace sy::ops::detail
