#pragma once

#include <algorithm>

#include "kernels/core/simd.hpp"
#include "kernels/ops/attention/attention.hpp"

/// Which keys queries see, and with them how the work is cut: what no row of a block sees is not computed.
namespace sy::ops::detail {

/// Query rows of a block: products of this height run at 80 to 95 % of a large product's rate, and the part of a
/// block beyond the diagonal, computed for nothing, stays small.
inline constexpr index_t kQueryBlock = 64;

inline Range keys_of_row(const AttentionShape& shape, index_t query) {
    if (shape.visibility == Visibility::all) return {0, shape.num_keys()};
    const index_t first = shape.window == 0 ? 0 : query + 1 - shape.window;
    return {std::max(first, index_t{0}), query + 1};
}

/// Keys that any row of a block sees. From a multiple of the vector's width, so that rows of transposed keys start
/// aligned.
inline Range keys_of_block(const AttentionShape& shape, Range rows) {
    const index_t first = keys_of_row(shape, rows.begin).begin;
    return {first - first % simd::kLanes, keys_of_row(shape, rows.end - 1).end};
}

inline Range rows_of_block(const AttentionShape& shape, index_t block) {
    return {block * kQueryBlock, std::min((block + 1) * kQueryBlock, shape.seq_len)};
}

/// Keys of the block that sees most.
inline index_t widest_block(const AttentionShape& shape) {
    index_t widest = 0;
    for (index_t block = 0; block < ceil_div(shape.seq_len, kQueryBlock); ++block)
        widest = std::max(widest, keys_of_block(shape, rows_of_block(shape, block)).size());
    return widest;
}

/// Scores that count, over all heads and sequences.
inline double num_scores(const AttentionShape& shape) {
    index_t scores = 0;
    for (index_t query = 0; query < shape.seq_len; ++query) scores += keys_of_row(shape, query).size();
    return static_cast<double>(scores) * static_cast<double>(shape.num_sequences * shape.heads);
}

/// Distances j - i of keys from queries that see them.
inline Range visible_distances(const AttentionShape& shape) {
    if (shape.visibility == Visibility::all) return {1 - shape.seq_len, shape.num_keys()};
    const index_t furthest = shape.window == 0 ? shape.seq_len : std::min(shape.window, shape.seq_len);
    return {1 - furthest, 1};
}

}  // namespace sy::ops::detail
