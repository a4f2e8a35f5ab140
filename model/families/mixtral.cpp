#include "model/families/lineages.hpp"

namespace sy::model {
namespace {

/// Jiang et al., arXiv:2401.04088; config.json of mistralai/Mixtral-8x7B-v0.1 and mistralai/Mixtral-8x22B-v0.1. Softmax
/// over the two chosen is softmax over all, renormalised.
Preset mixtral(const char* name, index_t hidden, index_t layers, double total) {
    Preset preset{.name = name, .source = "arXiv:2401.04088", .total = {total, 0}};
    ModelConfig& model = preset.model;
    model.vocab_size = 32000;
    model.hidden = hidden;
    model.layers = layers;
    model.kv_heads = 8;
    model.position.rope_theta = 1e6;
    MoeConfig& moe = preset.moe;
    moe.experts = 8;
    moe.top_k = 2;
    moe.balance.z_loss = 0.0;
    return preset;
}

}  // namespace

std::vector<Preset> mixtral_presets() {
    Preset seven = mixtral("mixtral-8x7b", 4096, 32, 46'702'792'704.0);
    seven.active = {12.9e9, 3};
    seven.model.heads = 32;
    seven.model.ffn_width = seven.moe.expert_width = 14336;
    seven.model.seq_len = 32768;
    seven.moe.balance.switch_loss = 0.02;
    Preset large = mixtral("mixtral-8x22b", 6144, 56, 140'620'634'112.0);
    large.active = {39e9, 2};
    large.model.heads = 48;
    large.model.ffn_width = large.moe.expert_width = 16384;
    large.model.seq_len = 65536;
    large.moe.balance.switch_loss = 0.001;
    return {seven, large};
}

}  // namespace sy::model
