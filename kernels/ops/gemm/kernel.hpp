#pragma once

#include <array>
#include <cstddef>

#include "kernels/core/dtype.hpp"
#include "kernels/core/gradient.hpp"
#include "kernels/core/isa.hpp"
#include "kernels/core/types.hpp"
#include "kernels/ops/gemm/host_gemm.hpp"

/// The innermost loops of a product. They work on 32-bit words: a word is one float, or two bf16 of consecutive k where
/// the processor multiplies such pairs. num_k counts words.
namespace sy::ops::detail {

inline constexpr index_t kTileRows = kRowsTogether;
inline constexpr index_t kWordBytes = sizeof(float);

/// One tile of C = A B or C += A B. Each element is one chain over ascending k that starts from zero or from C: its bits
/// do not depend on the tile's sides. Strides of A and B are in bytes, so that rows of bf16 may begin anywhere.
struct Tile {
    const std::byte* a;
    index_t a_stride;  ///< from one row to the next, or, in a panel, from one k to the next
    const std::byte* b;
    index_t b_stride;  ///< from one k to the next
    index_t num_k;
    float* c;
    index_t c_stride;  ///< in elements
    enum class Start { from_zero, from_c } start;
};
using TileFunction = void (*)(const Tile&);

/// Bodies for 1 to 12 rows of C; entry rows - 1.
using TileFunctions = std::array<TileFunction, kTileRows>;

/// Adds the sums of a tile, which start from zero, to the elements of a gradient in fixed point that begin at (row, col),
/// straight from the registers, as accumulate() (kernels/core/gradient.hpp) would: c of the tile is not used.
using FixedTileFunction = void (*)(const Tile&, const GradientView&, index_t row, index_t col);

/// A body that reads B where it is, [K, N] of the operand's own type; num_k counts elements of it.
struct InPlaceFunction {
    TileFunction run = nullptr;
    index_t cols = 0;
};

/// Entry rows - 1 of each. With fewer than six rows a wide tile is as wide as registers allow, so that long pieces of B's
/// rows are read; all others are equally wide, since more than twelve rows are split into tiles of different heights, of
/// which none is lower than six.
struct InPlaceKernels {
    std::array<InPlaceFunction, kTileRows> wide;
    std::array<InPlaceFunction, kTileRows> narrow;  ///< where fewer columns are left
};

/// Bodies that read B from packed panels of `cols` columns.
struct PanelKernels {
    index_t cols;
    TileFunctions a_in_rows;    ///< word (row, k) of A at row * a_stride + 4 k
    TileFunctions a_in_panels;  ///< word (row, k) of A at k * a_stride + 4 row
    /// A in panels; null where the sums have to pass through memory.
    std::array<FixedTileFunction, kTileRows> into_fixed{};
};

/// What the blocked product needs to know of the kernels of one instruction set and one type of operands.
struct Kernels {
    bool pairs;  ///< words are pairs of bf16
    PanelKernels wide;
    PanelKernels narrow;  ///< where no more columns than these are left
    /// Rows and words of the block of A that stays in the second-level cache while panels of B pass by.
    index_t block_rows;
    index_t block_k;
    /// A in rows and B in place. Used up to in_place_rows rows of C: packing B then costs more.
    InPlaceKernels in_place;
    index_t in_place_rows;
};

/// In is float or bf16.
/// @throws LogicError when this processor or this build does not have `isa`
template <class In>
const Kernels& kernels(Isa isa);

/// The tables by instruction set; bf16 without dot products is widened while it is packed. Null: not in this build.
template <class In>
const Kernels* generic_kernels();
template <class In>
const Kernels* avx2_kernels();
template <class In>
const Kernels* avx512_kernels();
const Kernels* avx512_bf16_kernels();

}  // namespace sy::ops::detail
