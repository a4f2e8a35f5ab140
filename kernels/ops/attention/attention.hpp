#pragma once

#include <span>

#include "kernels/core/context.hpp"
#include "kernels/core/gradient_ref.hpp"
#include "kernels/core/list.hpp"
#include "kernels/core/philox.hpp"
#include "kernels/core/tensor.hpp"
#include "kernels/ops/attention/position_bias.hpp"

/// Scaled-dot-product attention with grouped key/value heads, in blocks of query rows so that the [Sq, Sk] scores are
/// never stored: backward computes them again from q, k and lse. Sq = seq_len, Sk = key_len, D = head_dim,
/// Dv = value_dim, T = num_sequences * Sq query rows, Tk = num_sequences * Sk key rows. Head h uses key/value head
/// h / (heads / kv_heads).
///
/// score(i, j) = cap(scale * q_i . k_j) + bias(j - i) over the keys j that query i sees; probabilities are their
/// softmax; dropout falls on the probabilities, after their sum is taken.
///
/// Each block's products and sums have shapes and an order that depend on the shape of one sequence alone, so results
/// depend neither on the threads nor on the other sequences of the call, in both numerics modes. A row does not depend
/// on rows that it does not see, as long as these are finite.
/// @par Source  Dao et al., FlashAttention, arXiv:2205.14135; Ainslie et al., GQA, arXiv:2305.13245
namespace sy::ops {

/// Element ((first_token + t) * heads + h) * round_up(Sk, 4) + j of the key's stream decides about key j for head h of
/// query row t of the call: dropped where uniform(key, element) < probability, else divided by 1 - probability.
struct AttentionDropout {
    float probability = 0.0F;  ///< in [0, 1); 0: none, and nothing is drawn
    RandomKey key{.purpose = RandomPurpose::attention_dropout};
    index_t first_token = 0;  ///< query row 0 of the call among all of the global batch
};

/// Sizes and rules of a call. Borrows what the bias points to.
struct AttentionShape {
    index_t num_sequences = 0;
    index_t seq_len = 0;
    index_t heads = 0;
    index_t kv_heads = 0;
    index_t head_dim = 0;
    float scale = 1.0F;     ///< positive; usually 1 / sqrt(head_dim)
    index_t key_len = 0;    ///< keys of a sequence; 0: seq_len. Another length (cross attention) needs `all`
    index_t value_dim = 0;  ///< 0: head_dim
    Visibility visibility = Visibility::causal;
    index_t window =
        0;  ///< query i sees keys j > i - window only (arXiv:2310.06825); 0: no limit. Needs `causal`
    /// [T] the first key, counted in its sequence, that each query sees: where its document begins, so that sequences
    /// may be packed of several documents. Ascending within a sequence, query i's at most i. Needs `causal`. Empty: 0
    std::span<const index_t> first_keys{};
    float soft_cap = 0.0F;  ///< cap(s) = soft_cap * tanh(s / soft_cap) (arXiv:2408.00118); 0: cap(s) = s
    PositionBias bias{};
    AttentionDropout dropout{};

    index_t num_keys() const { return key_len == 0 ? seq_len : key_len; }
    index_t value_width() const { return value_dim == 0 ? head_dim : value_dim; }
};

/// @param q    [T, heads * D] f32
/// @param k    [Tk, kv_heads * D] f32
/// @param v    [Tk, kv_heads * Dv] f32
/// @param out  [T, heads * Dv] f32
/// @param lse  [T, heads] f32, log of the sums of e^score, kept for backward
/// @throws ShapeError when an operand does not fit the shape, or the shape's rules each other
/// @par Cost  (D + Dv) multiply-adds for each score, a head and sequence: S (S + 64) / 2 scores if causal, up to
///            S (window + 78) with a window, Sq Sk if all are visible; scratch one transposed copy of k, and 64 rows of
///            scores a thread
void attention(const AttentionShape& shape, ConstTensorRef q, ConstTensorRef k, ConstTensorRef v,
               TensorRef out, TensorRef lse, const Context& context);

/// Operands and results of forward, and the gradients of out, q, k and v in the shapes of these; all f32.
struct AttentionBackward {
    ConstTensorRef q;
    ConstTensorRef k;
    ConstTensorRef v;
    ConstTensorRef out;
    ConstTensorRef lse;
    ConstTensorRef dout;
    TensorRef dq;  ///< overwritten
    TensorRef dk;  ///< overwritten
    TensorRef dv;  ///< overwritten
    /// [buckets, heads] of the T5 table, added to: a sequence's addends are summed in float32, rows in blocks from the
    /// last to the first, and sequences in order. Empty: not wanted
    GradientRef dtable{};
};
/// Threads share the work by (sequence, key/value head): each sums that head's dk and dv over the query heads that
/// share it, in ascending order.
/// @throws ShapeError when an operand does not fit the shape
void attention_backward(const AttentionShape& shape, const AttentionBackward& operands,
                        const Context& context);

/// Where the queries of a decode stand: query b reads the first length[b] rows of cache number cache[b]. Both lists are the
/// host's, or neither is.
struct DecodeRows {
    List<index_t> cache;   ///< [B]
    List<index_t> length;  ///< [B] valid rows of that cache, the new token included
    index_t capacity = 0;  ///< rows of each cache
};

/// New tokens against caches of the tokens before them (generation). Causal: bit for bit the last row of a forward of
/// length[b] tokens, in both numerics modes and whatever else is in the call; with a window only the last `window` rows
/// are read. All: against an encoder output (cross attention), without bias. Of the shape, num_sequences, seq_len, key_len
/// and first_keys are not used; there is no dropout.
/// @param q        [B, heads * D] f32
/// @param k_cache  [caches * capacity, kv_heads * D] f32, cache after cache, the new tokens' keys already written
/// @param v_cache  [caches * capacity, kv_heads * Dv] f32; with a single key/value head they may be wider, and the first
///                 Dv columns count (MLA's latent rows are keys and values at once)
/// @param out      [B, heads * Dv] f32
/// @throws ShapeError when an operand does not fit the shape, or, of lists of the host, a length its cache or a cache the
///         memory
void attention_decode(const AttentionShape& shape, ConstTensorRef q, ConstTensorRef k_cache,
                      ConstTensorRef v_cache, const DecodeRows& rows, TensorRef out, const Context& context);

/// The same in double, one row at a time; backward recomputes probabilities and reads neither out nor lse.
namespace ref {
void attention(const AttentionShape& shape, MatrixView<const float> q, MatrixView<const float> k,
               MatrixView<const float> v, MatrixView<float> out);
/// @param dtable  [buckets * heads] added to; empty: not wanted. The operands' own is not used
void attention_backward(const AttentionShape& shape, const AttentionBackward& operands,
                        std::span<double> dtable = {});
}  // namespace ref

}  // namespace sy::ops
