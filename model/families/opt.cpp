#include "model/families/lineages.hpp"

namespace sy::model {
namespace {

/// Zhang et al., arXiv:2205.01068, table 1; config.json of facebook/opt-125m.
Preset opt(const char* name, index_t hidden, index_t layers, index_t heads) {
    Preset preset{.name = name, .source = "arXiv:2205.01068", .moe = no_mixture()};
    ModelConfig& model = preset.model;
    model = gpt_model({.hidden = hidden, .layers = layers, .heads = heads, .ffn_width = 4 * hidden});
    model.vocab_size = 50272;
    model.activation = Activation::relu;
    model.seq_len = 2048;
    model.dropout = model.attention.dropout = 0.1;
    preset.beyond = "its table of positions begins with two unused rows";
    preset.beyond_parameters = 2 * hidden;
    return preset;
}

}  // namespace

std::vector<Preset> opt_presets() {
    Preset small = opt("opt-125m", 768, 12, 12);
    small.total = {125'239'296.0, 0};
    Preset large = opt("opt-175b", 12288, 96, 96);
    large.total = {175e9, 3};
    return {small, large};
}

}  // namespace sy::model
