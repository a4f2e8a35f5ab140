#pragma once

#include <memory>

#include "kernels/core/list.hpp"
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

/// What generation keeps of the tokens so far, [slots, capacity, width]. Latent attention keeps its compressed rows in
/// `keys` and has no values.
struct KeyValueCache {
    Tensor keys;
    Tensor values;
};
/// Which slot of the caches each row of a generating pass belongs to, and where in its sequence it stands: all of one
/// prompt from its beginning on, or one token each of several sequences. Their keys and values go to those places.
class CacheRows {
  public:
    /// A prompt of so many tokens, at positions 0, 1, ... of one slot.
    static CacheRows prompt(index_t slot, index_t length, index_t capacity);
    /// One token each. @param position  of the token of each slot
    static CacheRows next_tokens(PerRow<index_t> slot, PerRow<std::int32_t> position, index_t capacity);

    /// The lists of next tokens in the memory of a device. A captured step reads them there, so that each replay finds the
    /// tokens of its time.
    struct OnDevice {
        Tensor narrow;  ///< [2, T] i32: token ids, positions
        Tensor wide;    ///< [3, T] i64: slots, lengths, places
    };
    /// Copies ids and these rows there. Operations read them there from then on. Borrowed.
    /// @param lists  of as many rows, or empty
    void upload(std::span<const std::int32_t> ids, OnDevice& lists, const Context& context);

    index_t size() const { return slot_.size(); }
    bool is_prompt() const { return is_prompt_; }
    bool is_on_device() const { return lists_ != nullptr; }
    /// The host's copies, which exist even where the lists are on the device.
    const PerRow<index_t>& host_slots() const { return slot_; }
    const PerRow<std::int32_t>& host_positions() const { return position_; }

    /// Ids of tokens. @pre is_on_device()
    List<std::int32_t> ids() const { return narrow_list(0); }
    List<std::int32_t> positions() const { return lists_ == nullptr ? position_ : narrow_list(1); }
    List<index_t> slots() const { return lists_ == nullptr ? slot_ : wide_list(0); }
    /// Tokens that each row sees, itself included.
    List<index_t> lengths() const { return lists_ == nullptr ? length_ : wide_list(1); }
    /// Rows of the caches that the keys and values go to.
    List<index_t> places() const { return lists_ == nullptr ? place_ : wide_list(2); }

  private:
    CacheRows(PerRow<index_t> slot, PerRow<std::int32_t> position, index_t capacity);
    List<std::int32_t> narrow_list(index_t row) const;
    List<index_t> wide_list(index_t row) const;

    PerRow<index_t> slot_;
    PerRow<std::int32_t> position_;
    PerRow<index_t> length_;
    PerRow<index_t> place_;
    bool is_prompt_ = false;
    const OnDevice* lists_ = nullptr;
};
/// Writes x into columns of a cache [slots, capacity, width], each row to its place.
void store_rows(ConstTensorRef x, const CacheRows& rows, Tensor& cache, Range cols, const Context& context);

/// Attention of one block: projections, positions, attention, output projection.
class AttentionLayer {
  public:
    virtual ~AttentionLayer() = default;

    /// @param encoder  what keys and values come from; null: x itself
    virtual Value& forward(Tape& tape, Value& x, const PassInfo& pass,
                           const EncoderOutput* encoder) const = 0;

    virtual KeyValueCache make_cache(index_t num_slots, index_t capacity, const Context& context) const = 0;
    /// New tokens of generated sequences, [T, H] -> [T, H]; adds them to the cache. A row has the same bits whether it
    /// comes with its prompt or alone.
    virtual void extend(ConstTensorRef x, const CacheRows& rows, KeyValueCache& cache, TensorRef out,
                        const Context& context) const = 0;
    /// Cross-attention: the cache of an encoder output [B * seq_len, H].
    virtual KeyValueCache make_cross_cache(ConstTensorRef encoder, index_t seq_len,
                                           const Context& context) const = 0;
    /// Cross-attention of new tokens, each against its slot of such a cache.
    virtual void extend_cross(ConstTensorRef x, const CacheRows& rows, const KeyValueCache& cache,
                              TensorRef out, const Context& context) const = 0;
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
