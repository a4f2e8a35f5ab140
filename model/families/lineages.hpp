#pragma once

#include "model/families/preset.hpp"

/// The lineages; presets() joins them in this order.
namespace sy::model {

/// For models whose layers are all dense.
MoeConfig no_mixture();

/// The sizes of a model as papers tabulate them.
struct ModelSizes {
    index_t hidden = 0;
    index_t layers = 0;
    index_t heads = 0;
    index_t kv_heads = 0;  ///< 0: as many as heads
    index_t ffn_width = 0;
};
void set_sizes(ModelConfig& model, const ModelSizes& sizes);

struct MixtureSizes {
    index_t experts = 0;
    index_t top_k = 0;
    index_t expert_width = 0;
    index_t shared_experts = 0;
};
void set_sizes(MoeConfig& moe, const MixtureSizes& sizes);

/// Layer norms and biases everywhere, learned positions and a tied head, as GPT-2 has them; BERT, OPT and BLOOM start from
/// it too.
ModelConfig gpt_model(const ModelSizes& sizes);
/// The first T5 (arXiv:1910.10683) in some size; the Switch Transformers start from it too.
ModelConfig t5_model(index_t hidden, index_t layers, index_t heads, index_t head_dim, index_t ffn_width);

std::vector<Preset> transformer_presets();
std::vector<Preset> bert_presets();
std::vector<Preset> gpt_presets();
std::vector<Preset> opt_presets();
std::vector<Preset> bloom_presets();
std::vector<Preset> t5_presets();
std::vector<Preset> palm_presets();
std::vector<Preset> chinchilla_presets();
std::vector<Preset> llama_presets();
std::vector<Preset> gemma_presets();
std::vector<Preset> gshard_presets();
std::vector<Preset> switch_presets();
std::vector<Preset> mixtral_presets();
std::vector<Preset> grok_presets();
std::vector<Preset> dbrx_presets();
std::vector<Preset> olmoe_presets();
std::vector<Preset> qwen_presets();
std::vector<Preset> deepseek_presets();

}  // namespace sy::model
