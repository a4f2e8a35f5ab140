#pragma once

#include <cmath>

#include "kernels/core/simd.hpp"
#include "kernels/ops/attention/attention.hpp"

/// Shared by the bodies of attention: how the work is cut, and the softmax of one row.
/// S sequence length, D head width.
namespace sy::ops::detail {

/// Query rows of a block: products of this height run at 80 to 95 % of a large product's rate, and the part of a
/// block beyond the diagonal, computed for nothing, stays small.
inline constexpr index_t kQueryBlock = 64;

/// Row pitch of score blocks and transposed heads. Not a multiple of 64 floats when S is: columns of a
/// power-of-two pitch all fall into the same few sets of the cache.
constexpr index_t pitch_of(index_t seq_len) {
    return round_up(seq_len, simd::kLanes) + simd::kLanes;
}

/// @throws LogicError unless q [T, heads * D], k and v [T, kv_heads * D] fit the shape
void check_operands(const AttentionShape& shape, MatrixView<const float> q, MatrixView<const float> k,
                    MatrixView<const float> v);

/// Scores that causal attention computes, over all heads and sequences.
inline double num_causal_scores(const AttentionShape& shape) {
    return 0.5 * static_cast<double>(shape.num_sequences * shape.heads * shape.seq_len * (shape.seq_len + 1));
}

/// The part of x that belongs to one sequence and one head.
template <class T>
MatrixView<T> head_of(MatrixView<T> x, const AttentionShape& shape, index_t sequence, index_t head) {
    return x.rows_of({sequence * shape.seq_len, (sequence + 1) * shape.seq_len})
        .cols_of({head * shape.head_dim, (head + 1) * shape.head_dim});
}

/// Every key/value head of every sequence turned to [D, S], so that the products against it read along rows: the
/// library is up to 1.4 times faster so, and the turning is done once, not once for each block of queries.
class TransposedHeads {
  public:
    TransposedHeads(const AttentionShape& shape, MatrixView<const float> x, const Context& context);
    /// [D, keys.end]: the first keys of a head
    MatrixView<const float> first_keys(index_t sequence, index_t kv_head, index_t num_keys) const;

  private:
    index_t kv_heads_;
    index_t head_dim_;
    index_t pitch_;
    Tensor memory_;
};

SY_INLINE float dot(const float* a, const float* b, index_t count) {
    simd::f32x16 sums{};
    simd::for_lanes(
        count, [&](index_t i, auto load, auto)
                   __attribute__((always_inline)) { sums = simd::fma(load(a + i), load(b + i), sums); });
    return simd::sum(sums);
}

struct RowSoftmax {
    float largest;  ///< of the scaled scores
    float sum;      ///< of e^(score - largest), which the row then holds
};

/// Scores of a query row become e^(scale * score - largest) over its first `count` keys.
SY_INLINE RowSoftmax exponentiate_row(float* row, index_t count, float scale) {
    const simd::f32x16 lowest = simd::splat(-__builtin_inff());
    simd::f32x16 highest = lowest;
    index_t i = 0;
    for (; i + simd::kLanes <= count; i += simd::kLanes) highest = simd::max(simd::load(row + i), highest);
    if (i < count) highest = simd::max(simd::load_part(row + i, count - i, -__builtin_inff()), highest);
    const float largest = simd::max_lane(highest) * scale;
    simd::f32x16 sums{};
    for (i = 0; i + simd::kLanes <= count; i += simd::kLanes) {
        const simd::f32x16 power =
            simd::exp(simd::fma(simd::load(row + i), simd::splat(scale), simd::splat(-largest)));
        simd::store(row + i, power);
        sums += power;
    }
    if (i < count) {
        const simd::f32x16 scores = simd::load_part(row + i, count - i, -__builtin_inff());
        const simd::f32x16 power = simd::exp(simd::fma(scores, simd::splat(scale), simd::splat(-largest)));
        simd::store_part(row + i, power, count - i);
        sums += power;
    }
    return {largest, simd::sum(sums)};
}

}  // namespace sy::ops::detail
