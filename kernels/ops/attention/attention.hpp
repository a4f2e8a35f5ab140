#pragma once

#include <span>

#include "kernels/core/context.hpp"
#include "kernels/core/tensor.hpp"

/// Causal scaled-dot-product attention with grouped key/value heads, in blocks of query rows so that the [S, S] scores
/// are never stored: backward computes them again from q, k and lse. S = seq_len, T = num_sequences * S rows, D =
/// head_dim. Head h uses key/value head h / (heads / kv_heads).
///
/// Each block's products and sums have shapes and an order that depend on the shape of one sequence alone, so results
/// depend neither on the threads nor on the other sequences of the call, in both numerics modes. A row never depends on
/// later rows of its sequence, as long as these are finite.
/// @par Source  Dao et al., FlashAttention, arXiv:2205.14135; Ainslie et al., GQA, arXiv:2305.13245
namespace sy::ops {

struct AttentionShape {
    index_t num_sequences = 0;
    index_t seq_len = 0;
    index_t heads = 0;
    index_t kv_heads = 0;
    index_t head_dim = 0;
    float scale = 1.0F;  ///< positive; usually 1 / sqrt(head_dim)
};

/// @param q    [T, heads * D]
/// @param k,v  [T, kv_heads * D]
/// @param out  [T, heads * D]
/// @param lse  [T, heads] log of the sums of e^score, kept for backward
/// @throws LogicError when a view does not fit the shape
/// @par Cost  S (S + 64) D multiply-adds a head and sequence; scratch one transposed copy of k, and 64 rows
///            of S scores a thread
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
/// Threads share the work by (sequence, key/value head): each sums that head's dk and dv over the query heads that
/// share it, in ascending order.
/// @throws LogicError when a view does not fit the shape
void attention_backward(const AttentionShape& shape, const AttentionBackward& operands,
                        const Context& context);

/// One new token a sequence against its cache (generation).
/// @param q        [B, heads * D]
/// @param k_cache  B matrices [capacity, kv_heads * D], the new token's key already written
/// @param lengths  [B] valid rows of each cache, the new token included
/// @param out      [B, heads * D]
/// @throws LogicError when a view does not fit the shape or a length its cache
void attention_decode(const AttentionShape& shape, MatrixView<const float> q,
                      TensorView3<const float> k_cache, TensorView3<const float> v_cache,
                      std::span<const index_t> lengths, MatrixView<float> out, const Context& context);

/// The same in double, one row at a time; backward recomputes probabilities and reads neither out nor lse.
namespace ref {
void attention(const AttentionShape& shape, MatrixView<const float> q, MatrixView<const float> k,
               MatrixView<const float> v, MatrixView<float> out);
void attention_backward(const AttentionShape& shape, const AttentionBackward& operands);
}  // namespace ref

}  // namespace sy::ops
