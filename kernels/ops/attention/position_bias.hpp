#pragma once

#include <span>
#include <vector>

#include "kernels/core/tensor.hpp"

/// Biases of attention scores that depend on the distance between query and key alone.
namespace sy::ops {

/// `causal`: query i sees keys j <= i. `all`: every query sees every key.
enum class Visibility { causal, all };

/// Added to the scaled (and capped) score of query i and key j; at most one of the two.
struct PositionBias {
    std::span<const float> slopes{};  ///< [heads] ALiBi, of the host: -slope * |i - j|; empty: none
    ConstTensorRef table{};           ///< [buckets, heads] f32 T5: row t5_bucket(j - i); null: none
    index_t max_distance = 128;       ///< of T5: from here on all distances share a bucket
};

/// ALiBi's slope of every head: 2^(-8 (h + 1) / heads) for a power of two; else those of the largest power of two
/// below, then every second one of twice that power.
/// @throws ShapeError unless heads > 0
/// @par Source  Press et al., "Train short, test long", arXiv:2108.12409, and the authors' code
std::vector<float> alibi_slopes(index_t heads);

/// T5's bucket of the distance j - i. A bucket each for the smallest distances, then buckets that grow in proportion up
/// to max_distance, and one for all beyond. With `all` half of the buckets are for keys after the query; with `causal`
/// these share the bucket of distance 0.
/// @param num_buckets  >= 2; with `all` even and >= 4
/// @throws ShapeError when these do not fit, or max_distance is not beyond the single distances
/// @par Source  Raffel et al., arXiv:1910.10683, section 2.1, and the authors' code
index_t t5_bucket(index_t relative, index_t num_buckets, index_t max_distance, Visibility visibility);

}  // namespace sy::ops
