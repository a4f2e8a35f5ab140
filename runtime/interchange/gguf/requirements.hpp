#pragma once

#include "kernels/core/problems.hpp"
#include "runtime/config/config.hpp"

/// What architectures of llama.cpp have in common that a setting may contradict.
namespace sy::runtime::gguf {

inline constexpr index_t kMostLayers = 512;  ///< of llama.cpp

/// Collects what a model has and an architecture has not.
/// A sentence is the setting and what is expected, such as "model.wiring: only serial".
class Requirements : public Problems {
  public:
    explicit Requirements(const Config& config) : config_(config) {}

    /// Every architecture: sizes that llama.cpp takes.
    void sizes();
    /// A head that is a matrix and nothing else, no types of tokens.
    void plain_head();
    /// A decoder with sub-layers one after the other.
    void decoder();
    /// No norm, scale or cap of embeddings and logits.
    void plain_embedding();
    /// Heads are as wide as hidden together, and the output has a matrix of its own.
    void usual_widths();
    /// No window, cap or scale of its own.
    void plain_attention();
    /// RMS norms before sub-layers, rotary positions, gated SiLU, no caps.
    void rms_decoder();
    /// Grouped attention over heads that are rotated whole or, when `partial`, in part.
    enum class Rotation { whole, partial };
    void grouped_attention(Rotation rotation);
    /// No layer is a mixture.
    void dense();
    /// Mixtures behind leading dense layers.
    void trailing_mixtures();
    /// Softmax over all experts, the best of them, no groups, no bias, no scale.
    void top_k_routing();
    /// The same, renormalised, with no shared experts.
    void plain_routing();
    /// Scores, bias, groups and scale as metadata say.
    void described_routing();
    /// Layer norms with biases, biases everywhere, GELU with tanh.
    void layer_norm_decoder();

  private:
    void routing();

    const Config& config_;
};

bool has_mixture(const Config& config);
/// Layers before the first mixture; all where there is none.
index_t leading_dense_layers(const Config& config);
/// Width of a query or key head, rotary part included.
index_t key_width(const model::ModelConfig& model);
index_t value_width(const model::ModelConfig& model);
/// Columns of a head that are rotated.
index_t rotary_width(const model::ModelConfig& model);
/// Whether scores are scaled by 1 / sqrt(key_width).
bool has_usual_scale(const model::ModelConfig& model);

}  // namespace sy::runtime::gguf
