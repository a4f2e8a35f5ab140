// Dot products of bf16 pairs: sum + a0 b0 + a1 b1, rounded as the processor does it; subnormal inputs and results count
// as zero. A chain over ascending pairs is as independent of the layout as one of multiply-adds.
#include "kernels/ops/gemm/kernel.hpp"

#if defined(__x86_64__) && defined(__GNUC__)
#define SY_TARGET __attribute__((target("arch=x86-64-v4,avx512bf16")))
#include "kernels/ops/gemm/vector_avx512.hpp"

namespace sy::ops::detail {
namespace {
SY_TARGET_INLINE vector_t multiply_add(vector_t a, vector_t b, vector_t sum) {
    return _mm512_dpbf16_ps(sum, reinterpret_cast<__m512bh>(a), reinterpret_cast<__m512bh>(b));
}
}  // namespace
}  // namespace sy::ops::detail

#include "kernels/ops/gemm/kernel_body.hpp"

namespace sy::ops::detail {
namespace {

/// Pairs rows k and k + 1 of B in registers; a null second row counts as zeros. The columns of the two registers that
/// come of 32 are 0-3, 8-11, 16-19, 24-27 and the rest, so that C has to be in this order too.
struct LoadPairs {
    static constexpr std::size_t kTogether = 2;
    const std::byte* first;
    const std::byte* second;
    SY_TARGET_INLINE void operator()(std::size_t i, vector_t* words) const {
        const __m512i upper = _mm512_loadu_si512(first + i * 32);
        const __m512i lower =
            second == nullptr ? _mm512_setzero_si512() : _mm512_loadu_si512(second + i * 32);
        words[0] = _mm512_castsi512_ps(_mm512_unpacklo_epi16(upper, lower));
        words[1] = _mm512_castsi512_ps(_mm512_unpackhi_epi16(upper, lower));
    }
};

/// Puts the columns of each pair of registers into another order.
template <std::size_t kRows, std::size_t kVectors>
SY_TARGET_INLINE void reorder(Sums<kRows, kVectors>& sums, __m512i left, __m512i right) {
#pragma GCC unroll 12
    for (std::size_t row = 0; row < kRows; ++row) {
#pragma GCC unroll 8
        for (std::size_t i = 0; i < kVectors; i += 2) {
            const __m512 a = sums.value[row][i];
            const __m512 b = sums.value[row][i + 1];
            sums.value[row][i] = _mm512_permutex2var_ps(a, left, b);
            sums.value[row][i + 1] = _mm512_permutex2var_ps(a, right, b);
        }
    }
}

template <std::size_t kRows, std::size_t kVectors>
SY_TARGET void tile_of_bf16(const Tile& tile) {
    const __m512i to_left = _mm512_setr_epi32(0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27);
    const __m512i to_right = _mm512_add_epi32(to_left, _mm512_set1_epi32(4));
    const __m512i back_left = _mm512_setr_epi32(0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23);
    const __m512i back_right = _mm512_add_epi32(back_left, _mm512_set1_epi32(8));
    const auto c_stride = static_cast<std::size_t>(tile.c_stride);
    Sums<kRows, kVectors> sums(tile.c, c_stride, tile.start);
    if (tile.start == Tile::Start::from_c) reorder(sums, to_left, to_right);
    InRows<kRows> a(tile.a, static_cast<std::size_t>(tile.a_stride));
    const std::byte* b = tile.b;
    for (index_t k = 0; k + 2 <= tile.num_k; k += 2, b += 2 * tile.b_stride, a.next())
        sums.add(a, LoadPairs{b, b + tile.b_stride});
    if (tile.num_k % 2 != 0) sums.add(a, LoadPairs{b, nullptr});
    reorder(sums, back_left, back_right);
    sums.store_in(tile.c, c_stride);
}

template <std::size_t... kIdx>
constexpr InPlaceKernels in_place(std::index_sequence<kIdx...>) {
    return {{InPlaceFunction{tile_of_bf16<kIdx + 1, in_place_vectors(kIdx + 1)>,
                             index_t{in_place_vectors(kIdx + 1) * kLanes}}...},
            {InPlaceFunction{tile_of_bf16<kIdx + 1, kNarrowInPlace>, index_t{kNarrowInPlace * kLanes}}...}};
}

}  // namespace

const Kernels* avx512_bf16_kernels() {
    static constexpr Kernels kTable{.pairs = true,
                                    .wide = panel_kernels<2>(AllRows{}),
                                    .narrow = panel_kernels<1>(AllRows{}),
                                    .block_rows = 40 * kTileRows,
                                    .block_k = 256,
                                    .in_place = in_place(AllRows{}),
                                    .in_place_rows = 4 * kTileRows};
    return &kTable;
}

}  // namespace sy::ops::detail

#else

namespace sy::ops::detail {
const Kernels* avx512_bf16_kernels() {
    return nullptr;
}
}  // namespace sy::ops::detail

#endif
