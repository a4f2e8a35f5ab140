#include "model/families/lineages.hpp"

namespace sy::model {

/// Databricks 2024, "Introducing DBRX"; config.json of databricks/dbrx-base.
std::vector<Preset> dbrx_presets() {
    Preset preset{.name = "dbrx",
                  .source = "databricks/dbrx-base",
                  .total = {131'596'523'520.0, 0},
                  .active = {36e9, 2}};
    ModelConfig& model = preset.model;
    model.vocab_size = 100352;
    set_sizes(model, {.hidden = 6144, .layers = 40, .heads = 48, .kv_heads = 8, .ffn_width = 10752});
    model.seq_len = 32768;
    model.norm = NormKind::layer;
    model.attention.clip_qkv = 8.0;
    model.position.rope_theta = 500000.0;
    MoeConfig& moe = preset.moe;
    set_sizes(moe, {.experts = 16, .top_k = 4, .expert_width = 10752});
    moe.balance.switch_loss = 0.05;
    moe.balance.z_loss = 0.0;
    return {preset};
}

}  // namespace sy::model
