#pragma once

#include <span>

#include "kernels/core/context.hpp"
#include "kernels/core/tensor.hpp"

/// Causal scaled-dot-product attention with grouped key/value heads, blocked with an online softmax so that the
/// [S, S] scores are never stored. T = num_sequences * seq_len rows. Head h uses key/value head h / (heads / kv_heads).
/// Work is split by (sequence, kv head); nothing crosses sequences, so results do not depend on the layout.
/// @par Source  Dao et al., FlashAttention, arXiv:2205.14135; Ainslie et al., GQA, arXiv:2305.13245
namespace sy::ops {

struct AttentionShape {
    index_t num_sequences = 0;
    index_t seq_len = 0;
    index_t heads = 0;
    index_t kv_heads = 0;
    index_t head_dim = 0;
    float scale = 1.0F;  ///< usually 1 / sqrt(head_dim)
};

/// @param q    [T, heads * D]
/// @param k,v  [T, kv_heads * D]
/// @param out  [T, heads * D]
/// @param lse  [T, heads] log of the softmax denominators, kept for backward
void attention(const AttentionShape& shape, MatrixView<const float> q, MatrixView<const float> k,
               MatrixView<const float> v, MatrixView<float> out, MatrixView<float> lse,
               const Context& context);

struct AttentionBackward {
    MatrixView<const float> q;
    MatrixView<const float> k;
    MatrixView<const float> v;
    MatrixView<const float> out;
    MatrixView<const float> lse;
    MatrixView<const float> dout;
    MatrixView<float> dq;  ///< overwritten
    MatrixView<float> dk;  ///< overwritten
    MatrixView<float> dv;  ///< overwritten
};
void attention_backward(const AttentionShape& shape, const AttentionBackward& operands,
                        const Context& context);

/// One new token a sequence against its cache (generation).
/// @param q        [B, heads * D]
/// @param k_cache  B matrices [capacity, kv_heads * D], the new token's key already written
/// @param lengths  [B] valid rows of each cache, the new token included
/// @param out      [B, heads * D]
void attention_decode(const AttentionShape& shape, MatrixView<const float> q,
                      TensorView3<const float> k_cache, TensorView3<const float> v_cache,
                      std::span<const index_t> lengths, MatrixView<float> out, const Context& context);

namespace ref {
void attention(const AttentionShape& shape, MatrixView<const float> q, MatrixView<const float> k,
               MatrixView<const float> v, MatrixView<float> out);
void attention_backward(const AttentionShape& shape, const AttentionBackward& operands);
}  // namespace ref

}  // namespace sy::ops
