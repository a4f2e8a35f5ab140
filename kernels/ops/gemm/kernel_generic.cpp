#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "kernels/ops/gemm/kernel.hpp"

namespace sy::ops::detail {
namespace {

constexpr index_t kWideCols = 16;
constexpr index_t kNarrowCols = 8;

enum class LayoutA { rows, panels };

inline float word_at(const std::byte* source) {
    float value;
    std::memcpy(&value, source, sizeof(value));
    return value;
}

template <class B>
inline float element(const std::byte* row, index_t col) {
    B value;
    std::memcpy(&value, row + col * static_cast<index_t>(sizeof(B)), sizeof(value));
    return static_cast<float>(value);
}

template <LayoutA kLayout, class B, index_t kRows, index_t kCols>
void run_tile(const Tile& tile) {
    for (index_t row = 0; row < kRows; ++row) {
        float sums[std::size_t{kCols}] = {};
        float* const c = tile.c + row * tile.c_stride;
        if (tile.start == Tile::Start::from_c) std::copy_n(c, kCols, sums);
        for (index_t k = 0; k < tile.num_k; ++k) {
            const index_t offset = kLayout == LayoutA::rows ? row * tile.a_stride + k * kWordBytes
                                                            : k * tile.a_stride + row * kWordBytes;
            const float a = word_at(tile.a + offset);
            const std::byte* const b = tile.b + k * tile.b_stride;
            for (index_t col = 0; col < kCols; ++col) sums[col] = std::fma(a, element<B>(b, col), sums[col]);
        }
        std::copy_n(sums, kCols, c);
    }
}

template <LayoutA kLayout, index_t kCols, std::size_t... kIdx>
constexpr TileFunctions functions(std::index_sequence<kIdx...>) {
    return {run_tile<kLayout, float, index_t{kIdx} + 1, kCols>...};
}
template <index_t kCols>
constexpr PanelKernels panel_kernels() {
    using All = std::make_index_sequence<kTileRows>;
    return {kCols, functions<LayoutA::rows, kCols>(All{}), functions<LayoutA::panels, kCols>(All{})};
}

template <class B, std::size_t... kIdx>
constexpr InPlaceKernels in_place(std::index_sequence<kIdx...>) {
    return {{InPlaceFunction{run_tile<LayoutA::rows, B, index_t{kIdx} + 1, kWideCols>, kWideCols}...},
            {InPlaceFunction{run_tile<LayoutA::rows, B, index_t{kIdx} + 1, kNarrowCols>, kNarrowCols}...}};
}

}  // namespace

template <class In>
const Kernels* generic_kernels() {
    using All = std::make_index_sequence<kTileRows>;
    static constexpr Kernels kTable{.pairs = false,
                                    .wide = panel_kernels<kWideCols>(),
                                    .narrow = panel_kernels<kNarrowCols>(),
                                    .block_rows = 16 * kTileRows,
                                    .block_k = 256,
                                    .in_place = in_place<In>(All{}),
                                    .in_place_rows = kTileRows};
    return &kTable;
}

template const Kernels* generic_kernels<float>();
template const Kernels* generic_kernels<bf16>();

}  // namespace sy::ops::detail
