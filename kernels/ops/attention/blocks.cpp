#include "kernels/ops/attention/blocks.hpp"

#include <algorithm>

namespace sy::ops::detail {

void check_operands(const AttentionShape& shape, MatrixView<const float> q, MatrixView<const float> k,
                    MatrixView<const float> v) {
    const index_t rows = shape.num_sequences * shape.seq_len;
    SY_REQUIRE(shape.kv_heads > 0 && shape.heads % shape.kv_heads == 0 && shape.head_dim > 0 &&
                   shape.scale > 0.0F && q.rows == rows && k.rows == rows && v.rows == rows &&
                   q.cols == shape.heads * shape.head_dim && k.cols == shape.kv_heads * shape.head_dim &&
                   v.cols == k.cols,
               "attention: ", shape.num_sequences, " sequences of ", shape.seq_len, ", ", shape.heads,
               " heads over ", shape.kv_heads, " of ", shape.head_dim, ", scale ", shape.scale, "; q [",
               q.rows, ", ", q.cols, "], k [", k.rows, ", ", k.cols, "], v [", v.rows, ", ", v.cols, "]");
}

TransposedHeads::TransposedHeads(const AttentionShape& shape, MatrixView<const float> x,
                                 const Context& context)
    : kv_heads_(shape.kv_heads),
      head_dim_(shape.head_dim),
      pitch_(pitch_of(shape.seq_len)),
      memory_(context.arena, DType::f32, {shape.num_sequences * kv_heads_, head_dim_, pitch_}) {
    float* const memory = memory_.values<float>().data();
    context.team.for_tasks(shape.num_sequences * kv_heads_, [&](index_t task, int) {
        const MatrixView<const float> source = head_of(x, shape, task / kv_heads_, task % kv_heads_);
        float* const target = memory + task * head_dim_ * pitch_;
        // Squares of 16 keep both sides in the first-level cache.
        for (index_t first = 0; first < source.rows; first += simd::kLanes) {
            const index_t end = std::min(first + simd::kLanes, source.rows);
            for (index_t d = 0; d < head_dim_; ++d) {
                for (index_t s = first; s < end; ++s)
                    target[d * pitch_ + s] = source.data[s * source.stride + d];
            }
        }
    });
}

MatrixView<const float> TransposedHeads::first_keys(index_t sequence, index_t kv_head,
                                                    index_t num_keys) const {
    const index_t first = (sequence * kv_heads_ + kv_head) * head_dim_ * pitch_;
    return {memory_.values<float>().data() + first, head_dim_, num_keys, pitch_};
}

}  // namespace sy::ops::detail
