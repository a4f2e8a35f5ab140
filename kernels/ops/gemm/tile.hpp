#pragma once

#include "kernels/core/types.hpp"

namespace sy::ops::detail {

inline constexpr index_t kTileRows = 12;
inline constexpr index_t kTileCols = 32;

/// C[12, 32] += A B, each element one chain of fused multiply-adds over ascending k.
/// @param a_panel  [num_k][12]
/// @param b_panel  [num_k][32], 64-byte aligned
/// @param c        [12][32] dense, 64-byte aligned
using TileFunction = void (*)(const float* a_panel, const float* b_panel, index_t num_k, float* c);

/// The fastest body this processor runs; all give the same bits.
TileFunction choose_tile();
void tile_generic(const float* a_panel, const float* b_panel, index_t num_k, float* c);

}  // namespace sy::ops::detail
