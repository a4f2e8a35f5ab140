#pragma once

#include "kernels/ops/attention/attention.hpp"

namespace sy::ops::detail {

/// A position bias written out by distance, so that a row of scores adds a contiguous piece of it whatever its rule.
class RelativeBias {
  public:
    /// @param distances  j - i that will be looked up; 0 is among them
    RelativeBias(const AttentionShape& shape, Range distances, const Context& context);

    /// Where a head's bias of distance 0 stands, those of greater distances after it; null without a bias.
    const float* of_head(index_t head) const;
    Range distances() const { return distances_; }

    /// dtable[bucket, head] += the sums of its distances, in ascending order.
    /// @param sums  [distances] gradient of a head's bias
    void add_to_table(std::span<const float> sums, index_t head, MatrixView<float> dtable) const;

  private:
    Range distances_;
    Tensor values_;   ///< [heads, distances] f32; empty without a bias
    Tensor buckets_;  ///< [distances] i32 of T5
};

}  // namespace sy::ops::detail
