#include "model/families/lineages.hpp"

namespace sy::model {

/// Le Scao et al., arXiv:2211.05100; config.json of bigscience/bloom.
std::vector<Preset> bloom_presets() {
    Preset preset{.name = "bloom-176b", .source = "arXiv:2211.05100", .total = {176'247'271'424.0, 0}};
    preset.moe = no_mixture();
    ModelConfig& model = preset.model;
    model.vocab_size = 250880;
    set_sizes(model, {.hidden = 14336, .layers = 70, .heads = 112, .ffn_width = 4 * 14336});
    model.activation = Activation::gelu_tanh;
    model.ffn_bias = true;
    model.seq_len = 2048;
    model.norm = NormKind::layer;
    model.norm_bias = true;
    model.embedding_norm = true;
    model.tied_head = true;
    model.attention.bias = Biases::all;
    model.position.kind = PositionKind::alibi;
    return {preset};
}

}  // namespace sy::model
