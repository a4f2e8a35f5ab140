#include "kernels/ops/gemm/tile.hpp"

#include <cmath>

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
#define SY_X86 1
#endif

namespace sy::ops::detail {

void tile_generic(const float* a_panel, const float* b_panel, index_t num_k, float* c) {
    for (index_t k = 0; k < num_k; ++k) {
        for (index_t row = 0; row < kTileRows; ++row) {
            const float a = a_panel[k * kTileRows + row];
            for (index_t col = 0; col < kTileCols; ++col) {
                c[row * kTileCols + col] =
                    std::fma(a, b_panel[k * kTileCols + col], c[row * kTileCols + col]);
            }
        }
    }
}

#ifdef SY_X86
namespace {

/// 24 accumulators of 16 lanes; two loads of B and twelve broadcasts feed 24 multiply-adds.
__attribute__((target("avx512f"))) void tile_avx512(const float* a_panel, const float* b_panel, index_t num_k,
                                                    float* c) {
    __m512 left[kTileRows];
    __m512 right[kTileRows];
#pragma GCC unroll 12
    for (int row = 0; row < kTileRows; ++row) {
        left[row] = _mm512_load_ps(c + row * kTileCols);
        right[row] = _mm512_load_ps(c + row * kTileCols + 16);
    }
    for (index_t k = 0; k < num_k; ++k) {
        const __m512 b_left = _mm512_load_ps(b_panel + k * kTileCols);
        const __m512 b_right = _mm512_load_ps(b_panel + k * kTileCols + 16);
#pragma GCC unroll 12
        for (int row = 0; row < kTileRows; ++row) {
            const __m512 a = _mm512_set1_ps(a_panel[k * kTileRows + row]);
            left[row] = _mm512_fmadd_ps(a, b_left, left[row]);
            right[row] = _mm512_fmadd_ps(a, b_right, right[row]);
        }
    }
#pragma GCC unroll 12
    for (int row = 0; row < kTileRows; ++row) {
        _mm512_store_ps(c + row * kTileCols, left[row]);
        _mm512_store_ps(c + row * kTileCols + 16, right[row]);
    }
}

/// Sixteen registers hold 6 x 16 of C: the tile is four of these.
__attribute__((target("avx2,fma"))) void tile_avx2(const float* a_panel, const float* b_panel, index_t num_k,
                                                   float* c) {
    for (index_t part = 0; part < 4; ++part) {
        const index_t first_row = part / 2 * 6;
        const index_t first_col = part % 2 * 16;
        float* const c_part = c + first_row * kTileCols + first_col;
        __m256 left[6];
        __m256 right[6];
#pragma GCC unroll 6
        for (int row = 0; row < 6; ++row) {
            left[row] = _mm256_load_ps(c_part + row * kTileCols);
            right[row] = _mm256_load_ps(c_part + row * kTileCols + 8);
        }
        for (index_t k = 0; k < num_k; ++k) {
            const __m256 b_left = _mm256_load_ps(b_panel + k * kTileCols + first_col);
            const __m256 b_right = _mm256_load_ps(b_panel + k * kTileCols + first_col + 8);
#pragma GCC unroll 6
            for (int row = 0; row < 6; ++row) {
                const __m256 a = _mm256_set1_ps(a_panel[k * kTileRows + first_row + row]);
                left[row] = _mm256_fmadd_ps(a, b_left, left[row]);
                right[row] = _mm256_fmadd_ps(a, b_right, right[row]);
            }
        }
#pragma GCC unroll 6
        for (int row = 0; row < 6; ++row) {
            _mm256_store_ps(c_part + row * kTileCols, left[row]);
            _mm256_store_ps(c_part + row * kTileCols + 8, right[row]);
        }
    }
}

}  // namespace
#endif

TileFunction choose_tile() {
#ifdef SY_X86
    if (__builtin_cpu_supports("avx512f")) return tile_avx512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return tile_avx2;
#endif
    return tile_generic;
}

}  // namespace sy::ops::detail
