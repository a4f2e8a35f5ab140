#include "model/families/lineages.hpp"

namespace sy::model {
namespace {

/// Jiang et al., arXiv:2401.04088; config.json of mistralai/Mixtral-8x7B-v0.1 and mistralai/Mixtral-8x22B-v0.1. Softmax
/// over the two chosen is softmax over all, renormalised.
Preset mixtral(const char* name, const ModelSizes& sizes, double total) {
    Preset preset{.name = name, .source = "arXiv:2401.04088", .total = {total, 0}};
    ModelConfig& model = preset.model;
    model.vocab_size = 32000;
    set_sizes(model, sizes);
    model.position.rope_theta = 1e6;
    MoeConfig& moe = preset.moe;
    set_sizes(moe, {.experts = 8, .top_k = 2, .expert_width = sizes.ffn_width});
    moe.balance.z_loss = 0.0;
    return preset;
}

}  // namespace

std::vector<Preset> mixtral_presets() {
    const ModelSizes sizes_7b{.hidden = 4096, .layers = 32, .heads = 32, .kv_heads = 8, .ffn_width = 14336};
    const ModelSizes sizes_22b{.hidden = 6144, .layers = 56, .heads = 48, .kv_heads = 8, .ffn_width = 16384};
    Preset seven = mixtral("mixtral-8x7b", sizes_7b, 46'702'792'704.0);
    seven.active = {12.9e9, 3};
    seven.model.seq_len = 32768;
    seven.moe.balance.switch_loss = 0.02;
    Preset large = mixtral("mixtral-8x22b", sizes_22b, 140'620'634'112.0);
    large.active = {39e9, 2};
    large.model.seq_len = 65536;
    large.moe.balance.switch_loss = 0.001;
    return {seven, large};
}

}  // namespace sy::model
