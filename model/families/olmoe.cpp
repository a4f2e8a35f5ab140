#include "model/families/lineages.hpp"

namespace sy::model {

/// Muennighoff et al., arXiv:2409.02060; config.json of allenai/OLMoE-1B-7B-0924.
std::vector<Preset> olmoe_presets() {
    Preset preset{.name = "olmoe-1b-7b",
                  .source = "arXiv:2409.02060",
                  .total = {6'919'161'856.0, 0},
                  .active = {1.3e9, 2}};
    ModelConfig& model = preset.model;
    model.vocab_size = 50304;
    set_sizes(model, {.hidden = 2048, .layers = 16, .heads = 16, .ffn_width = 1024});
    model.seq_len = 4096;
    model.attention.qk_norm = QkNorm::projection;
    MoeConfig& moe = preset.moe;
    set_sizes(moe, {.experts = 64, .top_k = 8, .expert_width = 1024});
    moe.renormalise = false;
    return {preset};
}

}  // namespace sy::model
