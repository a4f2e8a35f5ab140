#include "model/families/lineages.hpp"

namespace sy::model {

/// The code released as github.com/xai-org/grok-1: run.py and model.py. Its "314B" is the layers alone, cut; with the
/// embedding it is 316 billion, so that only two digits are compared.
std::vector<Preset> grok_presets() {
    Preset preset{.name = "grok-1",
                  .source = "github.com/xai-org/grok-1",
                  .total = {314e9, 2},
                  .beyond = "how its experts were balanced"};
    ModelConfig& model = preset.model;
    model.vocab_size = 131072;
    set_sizes(model, {.hidden = 6144, .layers = 64, .heads = 48, .kv_heads = 8, .ffn_width = 32768});
    model.head_dim = 128;
    model.activation = Activation::geglu_tanh;
    model.seq_len = 8192;
    model.norm_placement = NormPlacement::both;
    model.embedding_scale = 78.38367176906169;
    model.tied_head = true;
    model.logit_scale = 0.5773502691896257;
    model.attention.softcap = 30.0;
    MoeConfig& moe = preset.moe;
    set_sizes(moe, {.experts = 8, .top_k = 2, .expert_width = 32768});
    moe.renormalise = false;
    return {preset};
}

}  // namespace sy::model
