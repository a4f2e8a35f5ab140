#include <algorithm>
#include <array>

#include "kernels/ops/gemm/tile_unit.hpp"

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>

// GCC 12's own headers read a register that they have not set.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"

#define SY_TARGET __attribute__((target("arch=x86-64-v4")))
#define SY_TARGET_INLINE SY_TARGET __attribute__((always_inline)) inline

namespace sy::ops::detail {
namespace {

constexpr index_t kLanes = 16;

/// Columns of C that are computed together; of the last vector those in `last`.
template <std::size_t kVectors>
struct Columns {
    index_t first;
    __mmask16 last;

    SY_TARGET_INLINE __mmask16 mask(std::size_t v) const {
        return v + 1 < kVectors ? __mmask16{0xffff} : last;
    }
    SY_TARGET_INLINE index_t of(std::size_t v) const { return first + static_cast<index_t>(v) * kLanes; }
};

template <std::size_t kRows, std::size_t kVectors>
using Sums = __m512[kRows][kVectors];

/// sums += column k of A times row k of B.
template <std::size_t kRows, std::size_t kVectors>
SY_TARGET_INLINE void add_products(const HostProduct<bf16>& product, index_t k,
                                   const Columns<kVectors>& columns, Sums<kRows, kVectors>& sums) {
    const bf16* const row = product.b.row(k);
#pragma GCC unroll 8
    for (std::size_t v = 0; v < kVectors; ++v) {
        const __m256i halves = _mm256_maskz_loadu_epi16(columns.mask(v), row + columns.of(v));
        const __m512 b = _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16));
#pragma GCC unroll 4
        for (std::size_t r = 0; r < kRows; ++r) {
            const float a = static_cast<float>(product.a(static_cast<index_t>(r), k));
            sums[r][v] = _mm512_fmadd_ps(_mm512_set1_ps(a), b, sums[r][v]);
        }
    }
}

template <std::size_t kRows, std::size_t kVectors>
SY_TARGET_INLINE void set_zero(Sums<kRows, kVectors>& sums) {
#pragma GCC unroll 4
    for (std::size_t r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
        for (std::size_t v = 0; v < kVectors; ++v) sums[r][v] = _mm512_setzero_ps();
    }
}

template <std::size_t kRows, std::size_t kVectors>
SY_TARGET void multiply_columns(const HostProduct<bf16>& product, Columns<kVectors> columns) {
    const index_t num_k = product.a.cols;
    Sums<kRows, kVectors> c;
    Sums<kRows, kVectors> even;
    Sums<kRows, kVectors> odd;
    set_zero<kRows, kVectors>(c);
    for (std::size_t r = 0; r < kRows && product.write == Write::add; ++r) {
        for (std::size_t v = 0; v < kVectors; ++v)
            c[r][v] = _mm512_maskz_loadu_ps(columns.mask(v),
                                            product.c.row(static_cast<index_t>(r)) + columns.of(v));
    }
    for (index_t k = 0; k < num_k;) {
        const index_t end = std::min(k + kTileDepth, num_k);
        set_zero<kRows, kVectors>(even);
        set_zero<kRows, kVectors>(odd);
        for (; k + 2 <= end; k += 2) {
            add_products<kRows, kVectors>(product, k, columns, even);
            add_products<kRows, kVectors>(product, k + 1, columns, odd);
        }
        if (k < end) add_products<kRows, kVectors>(product, k++, columns, even);
#pragma GCC unroll 4
        for (std::size_t r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
            for (std::size_t v = 0; v < kVectors; ++v)
                c[r][v] = _mm512_add_ps(c[r][v], _mm512_add_ps(even[r][v], odd[r][v]));
        }
    }
    for (std::size_t r = 0; r < kRows; ++r) {
        for (std::size_t v = 0; v < kVectors; ++v)
            _mm512_mask_storeu_ps(product.c.row(static_cast<index_t>(r)) + columns.of(v), columns.mask(v),
                                  c[r][v]);
    }
}

template <std::size_t kRows, std::size_t kVectors>
void multiply_rows(const HostProduct<bf16>& product) {
    constexpr index_t kCols = index_t{kVectors} * kLanes;
    const index_t num_cols = product.c.cols;
    index_t col = 0;
    for (; col + kCols <= num_cols; col += kCols)
        multiply_columns<kRows, kVectors>(product, {col, __mmask16{0xffff}});
    for (; col < num_cols; col += kLanes) {
        const index_t lanes = std::min(kLanes, num_cols - col);
        multiply_columns<kRows, 1>(product, {col, static_cast<__mmask16>((1U << lanes) - 1)});
    }
}

}  // namespace

void multiply_few_rows(const HostProduct<bf16>& product) {
    // As many vectors as the registers hold three sums of.
    constexpr std::array kByRows{multiply_rows<1, 8>, multiply_rows<2, 4>, multiply_rows<3, 2>,
                                 multiply_rows<4, 2>};
    static_assert(kByRows.size() == kFewRows);
    constexpr unsigned kSubnormalsAreZero = 0x8040;
    const unsigned before = _mm_getcsr();
    _mm_setcsr(before | kSubnormalsAreZero);
    kByRows[static_cast<std::size_t>(product.c.rows - 1)](product);
    _mm_setcsr(before);
}

}  // namespace sy::ops::detail

#else

namespace sy::ops::detail {
void multiply_few_rows(const HostProduct<bf16>&) {
    SY_REQUIRE(false, "gemm: a product for the matrix unit in a build without it");
}
}  // namespace sy::ops::detail

#endif
