#include <cmath>

#include "model/families/lineages.hpp"

namespace sy::model {
namespace {

/// Layers 0, 2, 4, ... as a pattern.
std::string even_layers(index_t num_layers) {
    std::string pattern = "0";
    for (index_t layer = 2; layer < num_layers; layer += 2) pattern += concat(",", layer);
    return pattern;
}

/// Gemma 2, arXiv:2408.00118; config.json of google/gemma-2-9b and google/gemma-2-27b. Layers with a window and without
/// alternate, the first with.
Preset gemma_2(const char* name, const ModelSizes& sizes, index_t head_dim, double total) {
    Preset preset{.name = name, .source = "arXiv:2408.00118", .moe = no_mixture(), .total = {total, 0}};
    ModelConfig& model = preset.model;
    model.vocab_size = 256000;
    set_sizes(model, sizes);
    model.head_dim = head_dim;
    model.activation = Activation::geglu_tanh;
    model.seq_len = 8192;
    model.norm_placement = NormPlacement::both;
    model.norm_eps = 1e-6;
    model.embedding_scale = std::sqrt(static_cast<double>(model.hidden));
    model.tied_head = true;
    model.logit_softcap = 30.0;
    model.attention.window = 4096;
    model.attention.window_layers = even_layers(model.layers);
    model.attention.softcap = 50.0;
    return preset;
}

}  // namespace

std::vector<Preset> gemma_presets() {
    const ModelSizes sizes_9b{.hidden = 3584, .layers = 42, .heads = 16, .kv_heads = 8, .ffn_width = 14336};
    const ModelSizes sizes_27b{.hidden = 4608, .layers = 46, .heads = 32, .kv_heads = 16, .ffn_width = 36864};
    Preset large = gemma_2("gemma-2-27b", sizes_27b, 128, 27'227'128'320.0);
    large.model.attention.scale = 1.0 / 12.0;
    return {gemma_2("gemma-2-9b", sizes_9b, 256, 9'241'705'984.0), large};
}

}  // namespace sy::model
