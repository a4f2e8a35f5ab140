#pragma once

#include <algorithm>

#include "kernels/core/simd.hpp"
#include "kernels/ops/attention/attention.hpp"

/// Shared by the bodies of attention: heads inside their matrices, and the checks of a call.
namespace sy::ops::detail {

/// Row pitch of score blocks and transposed heads. Not a multiple of 64 floats when the row is: columns of a
/// power-of-two pitch all fall into the same few sets of the cache.
constexpr index_t pitch_of(index_t cols) {
    return round_up(cols, simd::kLanes) + simd::kLanes;
}

/// How a matrix holds the rows of sequences one after another, and its columns those of heads.
struct HeadLayout {
    index_t length;  ///< rows of a sequence
    index_t width;   ///< columns of a head

    template <class T>
    MatrixView<T> part(MatrixView<T> x, index_t sequence, index_t head) const {
        return x.rows_of({sequence * length, (sequence + 1) * length})
            .cols_of({head * width, (head + 1) * width});
    }
};
inline HeadLayout layout_of_q(const AttentionShape& shape) {
    return {shape.seq_len, shape.head_dim};
}
inline HeadLayout layout_of_k(const AttentionShape& shape) {
    return {shape.num_keys(), shape.head_dim};
}
inline HeadLayout layout_of_v(const AttentionShape& shape) {
    return {shape.num_keys(), shape.value_width()};
}
inline HeadLayout layout_of_out(const AttentionShape& shape) {
    return {shape.seq_len, shape.value_width()};
}

/// Keys that the newest of `length` tokens sees.
inline index_t num_seen(const AttentionShape& shape, index_t length) {
    return shape.window == 0 ? length : std::min(shape.window, length);
}

/// @throws ShapeError unless the shape's heads, widths, bias and dropout fit each other
void check_rules(const AttentionShape& shape);
/// @throws ShapeError unless also its lengths do, and q, k and v fit it
void check_operands(const AttentionShape& shape, ConstTensorRef q, ConstTensorRef k, ConstTensorRef v);

/// Every key/value head of every sequence transposed to [width, length], so that the products against it read along rows:
/// they are up to 1.4 times faster, and heads are transposed once, not once for each block of queries.
class TransposedHeads {
  public:
    /// @param x  keys or values of the call, of this layout
    TransposedHeads(const AttentionShape& shape, HeadLayout layout, MatrixView<const float> x,
                    const Context& context);
    /// [width, keys]: some keys of a head
    MatrixView<const float> keys_of(index_t sequence, index_t kv_head, Range keys) const;

  private:
    index_t kv_heads_;
    HeadLayout layout_;
    index_t pitch_;
    Tensor memory_;
};

}  // namespace sy::ops::detail
