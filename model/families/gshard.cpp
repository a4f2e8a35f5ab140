#include "model/families/lineages.hpp"

namespace sy::model {

/// Lepikhin et al., arXiv:2006.16668: MoE(2048E, 36L), every second feed-forward a mixture of 2048 experts. Encoder and
/// decoder together have 36 layers: then the experts are the published 600 billion.
std::vector<Preset> gshard_presets() {
    Preset preset{
        .name = "gshard-600b",
        .source = "arXiv:2006.16668",
        .total = {600e9, 1},
        .beyond =
            "it translates, here spans are restored; vocabulary, norms and positions are not published, "
            "those of a pre-norm Transformer with 64000 tokens stand here; capacity was counted by group"};
    ModelConfig& model = preset.model;
    model.architecture = Architecture::encoder_decoder;
    model.vocab_size = 64000;
    set_sizes(model, {.hidden = 1024, .layers = 18, .heads = 16, .ffn_width = 8192});
    model.head_dim = 128;
    model.activation = Activation::relu;
    model.seq_len = 1024;
    model.norm = NormKind::layer;
    model.norm_bias = true;
    model.tied_head = true;
    model.position.kind = PositionKind::sine;
    MoeConfig& moe = preset.moe;
    moe.layers = "every:2";
    set_sizes(moe, {.experts = 2048, .top_k = 2, .expert_width = 8192});
    moe.random_second = true;
    moe.capacity_factor = 1.0;
    moe.balance.z_loss = 0.0;
    return {preset};
}

}  // namespace sy::model
