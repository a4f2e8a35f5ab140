#include "kernels/ops/gemm/tile.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
#define SY_X86 1
#endif

namespace sy::ops::detail {
namespace {

template <std::size_t kRows>
void tile_generic(const Tile& tile) {
    for (index_t row = 0; row < index_t{kRows}; ++row) {
        float sums[kTileCols] = {};
        float* const c = tile.c + row * tile.c_stride;
        if (tile.start == Tile::Start::from_c) std::copy_n(c, kTileCols, sums);
        for (index_t k = 0; k < tile.num_k; ++k) {
            const float a = tile.a[k * tile.a_stride + row];
            const float* const b = tile.b + k * tile.b_stride;
            for (index_t col = 0; col < kTileCols; ++col) sums[col] = std::fma(a, b[col], sums[col]);
        }
        std::copy_n(sums, kTileCols, c);
    }
}

template <std::size_t... kIdx>
constexpr TileFunctions generic_functions(std::index_sequence<kIdx...>) {
    return {tile_generic<kIdx + 1>...};
}

#ifdef SY_X86
/// Fetches the tile of C below this one, which is usually the next and not in the first-level cache.
inline void prefetch_next(const Tile& tile, std::size_t num_rows) {
    const float* next = tile.c + kTileRows * tile.c_stride;
    for (std::size_t row = 0; row < num_rows; ++row, next += tile.c_stride) {
        __builtin_prefetch(next, 1);
        __builtin_prefetch(next + 16, 1);
    }
}

/// Two accumulators of 16 lanes a row: for each k two loads of B and a broadcast a row feed 24 multiply-adds.
template <std::size_t kRows>
__attribute__((target("avx512f"))) void tile_avx512(const Tile& tile) {
    const auto c_stride = static_cast<std::size_t>(tile.c_stride);
    __m512 left[kRows];
    __m512 right[kRows];
#pragma GCC unroll 12
    for (std::size_t row = 0; row < kRows; ++row) {
        left[row] = _mm512_setzero_ps();
        right[row] = _mm512_setzero_ps();
    }
    if (tile.start == Tile::Start::from_c) {
#pragma GCC unroll 12
        for (std::size_t row = 0; row < kRows; ++row) {
            left[row] = _mm512_loadu_ps(tile.c + row * c_stride);
            right[row] = _mm512_loadu_ps(tile.c + row * c_stride + 16);
        }
    }
    prefetch_next(tile, kRows);
    const float* a = tile.a;
    const float* b = tile.b;
    for (index_t k = 0; k < tile.num_k; ++k) {
        const __m512 b_left = _mm512_loadu_ps(b);
        const __m512 b_right = _mm512_loadu_ps(b + 16);
#pragma GCC unroll 12
        for (std::size_t row = 0; row < kRows; ++row) {
            const __m512 value = _mm512_set1_ps(a[row]);
            left[row] = _mm512_fmadd_ps(value, b_left, left[row]);
            right[row] = _mm512_fmadd_ps(value, b_right, right[row]);
        }
        a += tile.a_stride;
        b += tile.b_stride;
    }
#pragma GCC unroll 12
    for (std::size_t row = 0; row < kRows; ++row) {
        _mm512_storeu_ps(tile.c + row * c_stride, left[row]);
        _mm512_storeu_ps(tile.c + row * c_stride + 16, right[row]);
    }
}

/// Sixteen registers hold 6 x 16 of C.
template <std::size_t kRows>
__attribute__((target("avx2,fma"))) void sub_tile_avx2(const Tile& tile, std::size_t first_row,
                                                       std::size_t first_col) {
    const auto c_stride = static_cast<std::size_t>(tile.c_stride);
    float* const c = tile.c + first_row * c_stride + first_col;
    __m256 left[kRows];
    __m256 right[kRows];
#pragma GCC unroll 6
    for (std::size_t row = 0; row < kRows; ++row) {
        left[row] = _mm256_setzero_ps();
        right[row] = _mm256_setzero_ps();
    }
    if (tile.start == Tile::Start::from_c) {
#pragma GCC unroll 6
        for (std::size_t row = 0; row < kRows; ++row) {
            left[row] = _mm256_loadu_ps(c + row * c_stride);
            right[row] = _mm256_loadu_ps(c + row * c_stride + 8);
        }
    }
    const float* a = tile.a + first_row;
    const float* b = tile.b + first_col;
    for (index_t k = 0; k < tile.num_k; ++k) {
        const __m256 b_left = _mm256_loadu_ps(b);
        const __m256 b_right = _mm256_loadu_ps(b + 8);
#pragma GCC unroll 6
        for (std::size_t row = 0; row < kRows; ++row) {
            const __m256 value = _mm256_set1_ps(a[row]);
            left[row] = _mm256_fmadd_ps(value, b_left, left[row]);
            right[row] = _mm256_fmadd_ps(value, b_right, right[row]);
        }
        a += tile.a_stride;
        b += tile.b_stride;
    }
#pragma GCC unroll 6
    for (std::size_t row = 0; row < kRows; ++row) {
        _mm256_storeu_ps(c + row * c_stride, left[row]);
        _mm256_storeu_ps(c + row * c_stride + 8, right[row]);
    }
}

template <std::size_t kRows>
__attribute__((target("avx2,fma"))) void tile_avx2(const Tile& tile) {
    prefetch_next(tile, kRows);
    constexpr std::size_t kUpper = kRows < 6 ? kRows : 6;
    for (const std::size_t col : {std::size_t{0}, std::size_t{16}}) {
        sub_tile_avx2<kUpper>(tile, 0, col);
        if constexpr (kRows > kUpper) sub_tile_avx2<kRows - kUpper>(tile, kUpper, col);
    }
}

template <std::size_t... kIdx>
constexpr TileFunctions avx2_functions(std::index_sequence<kIdx...>) {
    return {tile_avx2<kIdx + 1>...};
}
template <std::size_t... kIdx>
constexpr TileFunctions avx512_functions(std::index_sequence<kIdx...>) {
    return {tile_avx512<kIdx + 1>...};
}
#endif

}  // namespace

Instructions best_instructions() {
#ifdef SY_X86
    if (__builtin_cpu_supports("avx512f")) return Instructions::avx512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return Instructions::avx2;
#endif
    return Instructions::generic;
}

const TileFunctions& tile_functions(Instructions instructions) {
    SY_REQUIRE(instructions <= best_instructions(), "gemm: instruction set ", static_cast<int>(instructions),
               " asked for, this processor runs up to ", static_cast<int>(best_instructions()));
    using All = std::make_index_sequence<kTileRows>;
    static constexpr TileFunctions kGeneric = generic_functions(All{});
#ifdef SY_X86
    static constexpr TileFunctions kAvx2 = avx2_functions(All{});
    static constexpr TileFunctions kAvx512 = avx512_functions(All{});
    if (instructions == Instructions::avx512) return kAvx512;
    if (instructions == Instructions::avx2) return kAvx2;
#endif
    return kGeneric;
}

}  // namespace sy::ops::detail
