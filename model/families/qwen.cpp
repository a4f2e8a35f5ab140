#include "model/families/lineages.hpp"

namespace sy::model {
namespace {

Preset qwen(const char* name, const char* source, double total) {
    Preset preset{.name = name, .source = source, .total = {total, 0}};
    preset.model.vocab_size = 151936;
    preset.model.norm_eps = 1e-6;
    preset.model.position.rope_theta = 1e6;
    preset.moe.balance.switch_loss = 0.001;
    preset.moe.balance.z_loss = 0.0;
    return preset;
}

/// Qwen1.5-MoE and Qwen2-MoE, arXiv:2407.10671. Their one wide shared expert is several of the routed ones' width.
Preset qwen_2(const char* name, index_t hidden, index_t layers, double total) {
    Preset preset = qwen(name, "arXiv:2407.10671", total);
    preset.model.hidden = hidden;
    preset.model.layers = layers;
    preset.model.attention.bias = Biases::query_key_value;
    preset.moe.renormalise = false;
    preset.moe.shared_gate = true;
    return preset;
}

/// Qwen3, arXiv:2505.09388.
Preset qwen_3(const char* name, index_t hidden, index_t layers, double total) {
    Preset preset = qwen(name, "arXiv:2505.09388", total);
    preset.model.hidden = hidden;
    preset.model.layers = layers;
    preset.model.kv_heads = 4;
    preset.model.head_dim = 128;
    preset.model.seq_len = 4096;
    preset.model.attention.qk_norm = QkNorm::head;
    preset.moe.experts = 128;
    preset.moe.top_k = 8;
    return preset;
}

}  // namespace

/// config.json of Qwen/Qwen1.5-MoE-A2.7B, Qwen/Qwen2-57B-A14B, Qwen/Qwen3-30B-A3B and Qwen/Qwen3-235B-A22B.
std::vector<Preset> qwen_presets() {
    Preset first = qwen_2("qwen1.5-moe-a2.7b", 2048, 24, 14'315'784'192.0);
    first.active = {2.7e9, 2};
    first.model.heads = first.model.kv_heads = 16;
    first.model.ffn_width = 5632;
    first.model.seq_len = 8192;
    first.moe.experts = 60;
    first.moe.top_k = 4;
    first.moe.expert_width = 1408;
    first.moe.shared_experts = 4;

    Preset second = qwen_2("qwen2-57b-a14b", 3584, 28, 57'408'658'944.0);
    second.active = {14e9, 2};
    second.model.heads = 28;
    second.model.kv_heads = 4;
    second.model.ffn_width = 18944;
    second.model.seq_len = 32768;
    second.moe.experts = 64;
    second.moe.top_k = 8;
    second.moe.expert_width = 2560;
    second.moe.shared_experts = 8;

    Preset third = qwen_3("qwen3-30b-a3b", 2048, 48, 30'532'122'624.0);
    third.active = {3.3e9, 2};
    third.model.heads = 32;
    third.model.ffn_width = 6144;
    third.moe.expert_width = 768;

    Preset large = qwen_3("qwen3-235b-a22b", 4096, 94, 235'093'634'560.0);
    large.active = {22e9, 2};
    large.model.heads = 64;
    large.model.ffn_width = 12288;
    large.moe.expert_width = 1536;
    return {first, second, third, large};
}

}  // namespace sy::model
