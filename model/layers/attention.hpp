#pragma once

#include <memory>

#include "kernels/ops/attention/attention.hpp"
#include "model/autograd/tape.hpp"
#include "model/layers/layer_context.hpp"
#include "model/layers/positions.hpp"
#include "model/pass.hpp"

namespace sy::model {

/// Where an attention layer stands, and what its queries see.
struct AttentionSpec {
    LayerKey key;           ///< self-attention or cross-attention of a block
    index_t layer_idx = 0;  ///< in its stack
    ops::Visibility visibility = ops::Visibility::causal;
    index_t window = 0;  ///< tokens a query sees, itself included; 0: all

    bool is_cross() const { return key.part == Part::cross_attention; }
};

/// What cross-attention reads. Every reader adds to its gradient.
struct EncoderOutput {
    Value* value = nullptr;  ///< [sequences * seq_len, H]
    index_t seq_len = 0;
};

/// What generation keeps of the tokens so far, [B, capacity, width]. Latent attention keeps its compressed rows in
/// `keys` and has no values.
struct KeyValueCache {
    Tensor keys;
    Tensor values;
};
/// The row at `position` of every sequence, [B, width].
TensorRef cached_row(Tensor& cache, index_t position);

/// Attention of one block: projections, positions, attention, output projection.
class AttentionLayer {
  public:
    virtual ~AttentionLayer() = default;

    /// @param encoder  what keys and values come from; null: x itself
    virtual Value& forward(Tape& tape, Value& x, const PassInfo& pass,
                           const EncoderOutput* encoder) const = 0;

    virtual KeyValueCache make_cache(index_t num_sequences, index_t capacity,
                                     const Context& context) const = 0;
    /// One token a sequence at `position`, [B, H] -> [B, H]; appends to the cache.
    virtual void decode(ConstTensorRef x, index_t position, KeyValueCache& cache, TensorRef out,
                        const Context& context) const = 0;
    /// Cross-attention: the cache of an encoder output [B * seq_len, H].
    virtual KeyValueCache make_cross_cache(ConstTensorRef encoder, index_t seq_len,
                                           const Context& context) const = 0;
    /// Cross-attention of one token a sequence against such a cache.
    virtual void decode_cross(ConstTensorRef x, const KeyValueCache& cache, TensorRef out,
                              const Context& context) const = 0;
};

/// What both kinds of attention have in common: heads, scale, who sees whom, soft cap; dropout while training.
/// @param key_width  of a head of queries and keys
ops::AttentionShape attention_shape(const ModelConfig& config, const AttentionSpec& spec,
                                    const Positions& positions, index_t key_width);
ops::AttentionDropout attention_dropout(const ModelConfig& config, const AttentionSpec& spec,
                                        const PassInfo& pass);

/// MHA, GQA or MQA by the number of key/value heads; biases, QK norm, window, soft cap as the config says.
std::unique_ptr<AttentionLayer> make_grouped_attention(LayerContext& shared, const AttentionSpec& spec,
                                                       const Positions& positions);

/// Keys and values from one compressed row a token, which is all that generation keeps.
/// @par Source  DeepSeek-V2, arXiv:2405.04434, section 2.1
std::unique_ptr<AttentionLayer> make_latent_attention(LayerContext& shared, const AttentionSpec& spec,
                                                      const Positions& positions);

/// By attention.kind; cross-attention is always grouped.
std::unique_ptr<AttentionLayer> make_attention(LayerContext& shared, const AttentionSpec& spec,
                                               const Positions& positions);

}  // namespace sy::model
