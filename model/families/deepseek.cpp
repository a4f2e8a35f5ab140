#include "model/families/lineages.hpp"

namespace sy::model {
namespace {

Preset deepseek(const char* name, const char* source, PublishedSize total, PublishedSize active) {
    Preset preset{.name = name, .source = source, .total = total, .active = active};
    preset.model.vocab_size = 102400;
    preset.model.seq_len = 4096;
    preset.model.norm_eps = 1e-6;
    preset.moe.layers = "from:1";
    preset.moe.renormalise = false;
    preset.moe.balance.switch_loss = 0.001;
    preset.moe.balance.z_loss = 0.0;
    return preset;
}

/// Multi-head latent attention: the head width is that of a head's part without positions.
void set_latent_attention(ModelConfig& model, index_t query_rank) {
    model.head_dim = 128;
    model.attention.kind = AttentionKind::latent;
    model.attention.query_rank = query_rank;
    model.attention.kv_rank = 512;
    model.attention.rope_dim = 64;
    model.attention.value_dim = 128;
    model.position.rope_pairs = RopePairs::interleaved;
}

/// DeepSeekMoE, arXiv:2401.06066; config.json of deepseek-ai/deepseek-moe-16b-base.
Preset deepseek_moe() {
    Preset preset = deepseek("deepseek-moe-16b", "arXiv:2401.06066", {16'375'728'128.0, 0}, {2.8e9, 2});
    set_sizes(preset.model, {.hidden = 2048, .layers = 28, .heads = 16, .ffn_width = 10944});
    set_sizes(preset.moe, {.experts = 64, .top_k = 6, .expert_width = 1408, .shared_experts = 2});
    return preset;
}

/// DeepSeek-V2-Lite, arXiv:2405.04434, appendix B; config.json of deepseek-ai/DeepSeek-V2-Lite. The 2.4 billion active
/// parameters leave the embedding out, which is 0.2 billion.
Preset deepseek_v2_lite() {
    Preset preset = deepseek("deepseek-v2-lite", "arXiv:2405.04434", {15'706'484'224.0, 0}, {2.4e9, 2});
    set_sizes(preset.model, {.hidden = 2048, .layers = 27, .heads = 16, .ffn_width = 10944});
    set_latent_attention(preset.model, 0);
    set_sizes(preset.moe, {.experts = 64, .top_k = 6, .expert_width = 1408, .shared_experts = 2});
    preset.beyond = "YaRN to 32 thousand tokens after pre-training";
    return preset;
}

/// DeepSeek-V2, arXiv:2405.04434, sections 2 and 3.1.2; config.json of deepseek-ai/DeepSeek-V2.
Preset deepseek_v2() {
    Preset preset = deepseek("deepseek-v2", "arXiv:2405.04434", {235'741'434'880.0, 0}, {21e9, 2});
    set_sizes(preset.model, {.hidden = 5120, .layers = 60, .heads = 128, .ffn_width = 12288});
    set_latent_attention(preset.model, 1536);
    MoeConfig& moe = preset.moe;
    set_sizes(moe, {.experts = 160, .top_k = 6, .expert_width = 1536, .shared_experts = 2});
    moe.routed_scale = 16.0;
    moe.router = "group_limited";
    moe.groups = 8;
    moe.group_limit = 3;
    moe.device_capacity = 1.0;
    moe.balance.switch_loss = 0.003;
    moe.balance.device_loss = 0.05;
    moe.balance.communication_loss = 0.02;
    preset.beyond = "YaRN to 128 thousand tokens after pre-training";
    return preset;
}

/// DeepSeek-V3, arXiv:2412.19437, section 4.2; config.json of deepseek-ai/DeepSeek-V3. The published total is without
/// the module of multi-token prediction, and with the selection biases, which are state here.
Preset deepseek_v3() {
    Preset preset = deepseek("deepseek-v3", "arXiv:2412.19437", {671'026'419'200.0, 0}, {37e9, 2});
    preset.model.vocab_size = 129280;
    set_sizes(preset.model, {.hidden = 7168, .layers = 61, .heads = 128, .ffn_width = 18432});
    preset.model.mtp_depth = 1;
    set_latent_attention(preset.model, 1536);
    MoeConfig& moe = preset.moe;
    moe.layers = "from:3";
    set_sizes(moe, {.experts = 256, .top_k = 8, .expert_width = 2048, .shared_experts = 1});
    moe.score = Score::sigmoid;
    moe.renormalise = true;
    moe.routed_scale = 2.5;
    moe.router = "group_limited";
    moe.groups = 8;
    moe.group_limit = 4;
    moe.group_score = GroupScore::top_sum;
    moe.balance.switch_loss = 0.0;
    moe.balance.sequence_loss = 1e-4;
    moe.balance.bias_rate = 1e-3;
    preset.beyond =
        "YaRN to 128 thousand tokens after pre-training; lambda of multi-token prediction falls to 0.1; "
        "its selection biases are counted";
    preset.beyond_parameters = 58 * 256;
    return preset;
}

}  // namespace

std::vector<Preset> deepseek_presets() {
    return {deepseek_moe(), deepseek_v2_lite(), deepseek_v2(), deepseek_v3()};
}

}  // namespace sy::model
