#pragma once

#include "runtime/config/config.hpp"
#include "runtime/interchange/model_builder.hpp"

/// The tensors of a decoder under the names of llama.cpp; the one place that knows our names for them.
namespace sy::runtime::gguf {

/// From our order of rotary columns to neighbours, or to halves.
RotaryOrder::Change to_pairs(const Config& config);
RotaryOrder::Change to_halves(const Config& config);

class DecoderTensors {
  public:
    DecoderTensors(const Config& config, ModelBuilder& builder) : config_(config), builder_(builder) {}

    /// Embedding, its positions and norm, last norm, head.
    void add_ends();
    /// @param own  attn_norm, ffn_norm, ...; @param ours  attention_norm, ...
    void add_norm(index_t layer, const std::string& theirs, const std::string& ours);
    /// Query, key, value and output, each a tensor, and the norms of query and key heads.
    void add_attention(index_t layer, RotaryOrder::Change change);
    /// Query, key and value as one tensor.
    void add_fused_attention(index_t layer, RotaryOrder::Change change);
    void add_latent_attention(index_t layer);
    void add_feed_forward(index_t layer);
    void add_mixture(index_t layer);
    /// A block of attention and a mixture, each behind its norm, whose graph rotates halves.
    void add_mixture_block(index_t layer);
    /// The bias of the choice, zeros where there is none.
    void add_selection_bias(index_t layer);
    /// One feed-forward; one of zeros where there is none.
    void add_shared_experts(index_t layer);
    /// The gate on their output, [H].
    void add_shared_gate(index_t layer);

  private:
    RotaryOrder head_order(RotaryOrder::Change change) const;
    void add_projection(const std::string& theirs, const std::string& ours, const RotaryOrder& order);
    void add_bias(const std::string& theirs, const std::string& ours, const RotaryOrder& order);

    const Config& config_;
    ModelBuilder& builder_;
};

}  // namespace sy::runtime::gguf
