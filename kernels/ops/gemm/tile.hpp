#pragma once

#include <array>

#include "kernels/core/types.hpp"

namespace sy::ops::detail {

inline constexpr index_t kTileRows = 12;
inline constexpr index_t kTileCols = 32;

/// One tile of C += A B, or of C = A B. Each element is one chain of fused multiply-adds over ascending k that starts
/// from zero or from C.
struct Tile {
    const float* a;    ///< [num_k] groups of as many values as C has rows, a_stride apart
    index_t a_stride;  ///< all strides in elements
    const float* b;    ///< [num_k] rows of 32, b_stride apart
    index_t b_stride;
    index_t num_k;
    float* c;  ///< rows of 32, c_stride apart
    index_t c_stride;
    enum class Start { from_zero, from_c } start;
};

/// Bodies for 1 to 12 rows of C; entry `rows - 1`.
using TileFunctions = std::array<void (*)(const Tile&), kTileRows>;

/// What a processor can run. All bodies give the same bits.
enum class Instructions { generic, avx2, avx512 };

/// The best this processor runs.
Instructions best_instructions();

/// @throws LogicError when this processor or this build cannot run them
const TileFunctions& tile_functions(Instructions instructions);

}  // namespace sy::ops::detail
