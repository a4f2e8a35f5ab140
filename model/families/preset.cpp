#include "model/families/preset.hpp"

#include <array>

#include "model/families/lineages.hpp"

namespace sy::model {

std::vector<Preset> presets() {
    constexpr std::array kLineages{transformer_presets, bert_presets,    gpt_presets,    opt_presets,
                                   bloom_presets,       t5_presets,      palm_presets,   chinchilla_presets,
                                   llama_presets,       gemma_presets,   gshard_presets, switch_presets,
                                   mixtral_presets,     grok_presets,    dbrx_presets,   olmoe_presets,
                                   qwen_presets,        deepseek_presets};
    std::vector<Preset> all;
    for (const auto lineage : kLineages) {
        for (Preset& preset : lineage()) all.push_back(std::move(preset));
    }
    return all;
}

std::optional<Preset> find_preset(const std::string& name) {
    for (Preset& preset : presets()) {
        if (preset.name == name) return std::move(preset);
    }
    return std::nullopt;
}

MoeConfig no_mixture() {
    MoeConfig moe;
    moe.layers = "none";
    return moe;
}

void set_sizes(ModelConfig& model, const ModelSizes& sizes) {
    model.hidden = sizes.hidden;
    model.layers = sizes.layers;
    model.heads = sizes.heads;
    model.kv_heads = sizes.kv_heads > 0 ? sizes.kv_heads : sizes.heads;
    model.ffn_width = sizes.ffn_width;
}

void set_sizes(MoeConfig& moe, const MixtureSizes& sizes) {
    moe.experts = sizes.experts;
    moe.top_k = sizes.top_k;
    moe.expert_width = sizes.expert_width;
    moe.shared_experts = sizes.shared_experts;
}

}  // namespace sy::model
