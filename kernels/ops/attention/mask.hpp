#pragma once

#include <algorithm>

#include "kernels/core/simd.hpp"
#include "kernels/ops/attention/attention.hpp"

/// Which keys queries see, and with them how the work is cut: what no row of a block sees is not computed.
namespace sy::ops::detail {

/// Query rows of a block: products of this height run at 80 to 95 % of a large product's rate, and the part of a
/// block beyond the diagonal, computed for nothing, stays small.
inline constexpr index_t kQueryBlock = 64;

inline Range keys_of_row(const AttentionShape& shape, index_t sequence, index_t query) {
    if (shape.visibility == Visibility::all) return {0, shape.num_keys()};
    const auto row = static_cast<std::size_t>(sequence * shape.seq_len + query);
    const index_t document = shape.first_keys.empty() ? 0 : shape.first_keys[row];
    const index_t first = shape.window == 0 ? 0 : query + 1 - shape.window;
    return {std::max(first, document), query + 1};
}

/// Keys that any row of a block sees. From a multiple of the vector's width, so that rows of transposed keys start
/// aligned.
inline Range keys_of_block(const AttentionShape& shape, index_t sequence, Range rows) {
    const index_t first = keys_of_row(shape, sequence, rows.begin).begin;
    return {first - first % simd::kLanes, keys_of_row(shape, sequence, rows.end - 1).end};
}

/// Sequences that may see differently from each other: all of them if they have documents, else one stands for all.
inline index_t num_patterns(const AttentionShape& shape) {
    return shape.first_keys.empty() ? std::min(shape.num_sequences, index_t{1}) : shape.num_sequences;
}

inline Range rows_of_block(const AttentionShape& shape, index_t block) {
    return {block * kQueryBlock, std::min((block + 1) * kQueryBlock, shape.seq_len)};
}

/// Keys of the block that sees most.
inline index_t widest_block(const AttentionShape& shape) {
    index_t widest = 0;
    for (index_t sequence = 0; sequence < num_patterns(shape); ++sequence) {
        for (index_t block = 0; block < ceil_div(shape.seq_len, kQueryBlock); ++block)
            widest = std::max(widest, keys_of_block(shape, sequence, rows_of_block(shape, block)).size());
    }
    return widest;
}

/// Scores that count, over all heads and sequences.
inline double num_scores(const AttentionShape& shape) {
    index_t scores = 0;
    for (index_t sequence = 0; sequence < num_patterns(shape); ++sequence) {
        for (index_t query = 0; query < shape.seq_len; ++query)
            scores += keys_of_row(shape, sequence, query).size();
    }
    const index_t alike = shape.num_sequences / std::max(num_patterns(shape), index_t{1});
    return static_cast<double>(scores) * static_cast<double>(alike * shape.heads);
}

/// Distances j - i of keys from queries that see them.
inline Range visible_distances(const AttentionShape& shape) {
    if (shape.visibility == Visibility::all) return {1 - shape.seq_len, shape.num_keys()};
    const index_t furthest = shape.window == 0 ? shape.seq_len : std::min(shape.window, shape.seq_len);
    return {1 - furthest, 1};
}

}  // namespace sy::ops::detail
