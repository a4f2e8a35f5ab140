#include "model/families/lineages.hpp"

namespace sy::model {
namespace {

/// Devlin et al., arXiv:1810.04805; config.json of bert-base-uncased and bert-large-uncased.
Preset bert(const char* name, index_t hidden, index_t layers) {
    Preset preset{.name = name, .source = "arXiv:1810.04805", .moe = no_mixture()};
    ModelConfig& model = preset.model;
    model = gpt_model({.hidden = hidden, .layers = layers, .heads = hidden / 64, .ffn_width = 4 * hidden});
    model.architecture = Architecture::encoder;
    model.vocab_size = 30522;
    model.activation = Activation::gelu;
    model.seq_len = 512;
    model.norm_placement = NormPlacement::post;
    model.norm_eps = 1e-12;
    model.embedding_norm = true;
    model.token_types = 2;
    model.head_bias = true;
    model.head_transform = true;
    model.dropout = model.attention.dropout = 0.1;
    preset.beyond = "next-sentence prediction";
    return preset;
}

}  // namespace

std::vector<Preset> bert_presets() {
    Preset base = bert("bert-base", 768, 12);
    base.total = {109'514'298.0, 0};
    Preset large = bert("bert-large", 1024, 24);
    large.total = {335'174'458.0, 0};
    return {base, large};
}

}  // namespace sy::model
