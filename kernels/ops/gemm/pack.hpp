#pragma once

#include "kernels/core/tensor.hpp"

namespace sy::ops::detail {

/// How the lines of an operand lie in memory. A line is a row of A or a column of B: what one index of C picks.
enum class Lines { are_rows, are_columns };

/// Copies elements `ks` of the lines [first, first + count) of x into a panel: panel[k - ks.begin][kWidth], float32,
/// with zeros for the lines from count on.
template <index_t kWidth, class In>
void pack_panel(MatrixView<const In> x, Lines lines, index_t first, index_t count, Range ks, float* panel);

/// Asks for part `part_idx` of `num_parts` of what pack_panel would read to be brought into the second-level cache.
template <index_t kWidth, class In>
void prefetch_panel(MatrixView<const In> x, Lines lines, index_t first, Range ks, index_t num_parts,
                    index_t part_idx);

}  // namespace sy::ops::detail
