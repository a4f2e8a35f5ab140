// Kernels for 256-bit registers and fused multiply-adds. Sixteen registers hold 6 x 16 of C, two rows of B and a value
// of A.
#include "kernels/ops/gemm/kernel.hpp"

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>

#include <bit>
#include <cstdint>

#include "kernels/core/gradient_units.hpp"

#define SY_TARGET __attribute__((target("avx2,fma")))
#define SY_TARGET_INLINE inline __attribute__((always_inline)) SY_TARGET

namespace sy::ops::detail {
namespace {

using vector_t = __m256;
constexpr std::size_t kLanes = 8;
constexpr std::size_t kMostSums = 12;
SY_TARGET_INLINE vector_t zero() {
    return _mm256_setzero_ps();
}
SY_TARGET_INLINE vector_t load(const float* source) {
    return _mm256_loadu_ps(source);
}
SY_TARGET_INLINE void store(float* target, vector_t value) {
    _mm256_storeu_ps(target, value);
}
SY_TARGET_INLINE vector_t broadcast(float word) {
    return _mm256_set1_ps(word);
}
SY_TARGET_INLINE vector_t multiply_add(vector_t a, vector_t b, vector_t sum) {
    return _mm256_fmadd_ps(a, b, sum);
}

struct Largest {
    __m256i bits;
    SY_TARGET_INLINE Largest() : bits(_mm256_setzero_si256()) {}
    SY_TARGET_INLINE void take(vector_t value) {
        const __m256i size = _mm256_and_si256(_mm256_castps_si256(value), _mm256_set1_epi32(0x7fffffff));
        bits = _mm256_max_epi32(bits, size);
    }
    SY_TARGET_INLINE bool is_below(float limit) const {
        const __m256i limits = _mm256_set1_epi32(std::bit_cast<std::int32_t>(limit));
        return _mm256_movemask_epi8(_mm256_cmpgt_epi32(limits, bits)) == -1;
    }
};
constexpr float kUnitsLimit = kOneStepLimit;
SY_TARGET_INLINE void add_units(std::int64_t* sums, vector_t value) {
    add_units_avx2(_mm256_castps256_ps128(value), sums);
    add_units_avx2(_mm256_extractf128_ps(value, 1), sums + 4);
}

/// Registers of a row of C where B is read in place: as many as there are for so few rows, but not more than eight.
constexpr std::size_t in_place_vectors(std::size_t num_rows) {
    return num_rows == 1 ? 8 : num_rows == 2 ? 6 : num_rows == 3 ? 4 : num_rows == 4 ? 3 : 2;
}

}  // namespace
}  // namespace sy::ops::detail

#include "kernels/ops/gemm/kernel_body.hpp"

namespace sy::ops::detail {
namespace {

/// Widens bf16.
struct LoadBf16 {
    static constexpr std::size_t kTogether = 1;
    const std::byte* row;
    SY_TARGET_INLINE void operator()(std::size_t i, vector_t* words) const {
        const __m128i halves = _mm_loadu_si128(reinterpret_cast<const __m128i*>(row) + i);
        *words = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(halves), 16));
    }
};

}  // namespace

template <class In>
const Kernels* avx2_kernels() {
    static constexpr Kernels kTable{.pairs = false,
                                    .wide = panel_kernels<2>(AllRows{}),
                                    .narrow = panel_kernels<1>(AllRows{}),
                                    .block_rows = 22 * kTileRows,
                                    .block_k = 256,
                                    .in_place = in_place_kernels<LoadInPlace<In, LoadBf16>>(AllRows{}),
                                    .in_place_rows = 8 * kTileRows};
    return &kTable;
}

}  // namespace sy::ops::detail

#else

namespace sy::ops::detail {
template <class In>
const Kernels* avx2_kernels() {
    return nullptr;
}
}  // namespace sy::ops::detail

#endif

namespace sy::ops::detail {
template const Kernels* avx2_kernels<float>();
template const Kernels* avx2_kernels<bf16>();
}  // namespace sy::ops::detail
