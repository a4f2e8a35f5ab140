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
Preset qwen_2(const char* name, double total) {
    Preset preset = qwen(name, "arXiv:2407.10671", total);
    preset.model.attention.bias = Biases::query_key_value;
    preset.moe.renormalise = false;
    preset.moe.shared_gate = true;
    return preset;
}

/// Qwen3, arXiv:2505.09388.
Preset qwen_3(const char* name, double total) {
    Preset preset = qwen(name, "arXiv:2505.09388", total);
    preset.model.head_dim = 128;
    preset.model.seq_len = 4096;
    preset.model.attention.qk_norm = QkNorm::head;
    return preset;
}

}  // namespace

/// config.json of Qwen/Qwen1.5-MoE-A2.7B, Qwen/Qwen2-57B-A14B, Qwen/Qwen3-30B-A3B and Qwen/Qwen3-235B-A22B.
std::vector<Preset> qwen_presets() {
    Preset first = qwen_2("qwen1.5-moe-a2.7b", 14'315'784'192.0);
    first.active = {2.7e9, 2};
    set_sizes(first.model, {.hidden = 2048, .layers = 24, .heads = 16, .ffn_width = 5632});
    first.model.seq_len = 8192;
    set_sizes(first.moe, {.experts = 60, .top_k = 4, .expert_width = 1408, .shared_experts = 4});

    Preset second = qwen_2("qwen2-57b-a14b", 57'408'658'944.0);
    second.active = {14e9, 2};
    set_sizes(second.model, {.hidden = 3584, .layers = 28, .heads = 28, .kv_heads = 4, .ffn_width = 18944});
    second.model.seq_len = 32768;
    set_sizes(second.moe, {.experts = 64, .top_k = 8, .expert_width = 2560, .shared_experts = 8});

    Preset third = qwen_3("qwen3-30b-a3b", 30'532'122'624.0);
    third.active = {3.3e9, 2};
    set_sizes(third.model, {.hidden = 2048, .layers = 48, .heads = 32, .kv_heads = 4, .ffn_width = 6144});
    set_sizes(third.moe, {.experts = 128, .top_k = 8, .expert_width = 768});

    Preset large = qwen_3("qwen3-235b-a22b", 235'093'634'560.0);
    large.active = {22e9, 2};
    set_sizes(large.model, {.hidden = 4096, .layers = 94, .heads = 64, .kv_heads = 4, .ffn_width = 12288});
    set_sizes(large.moe, {.experts = 128, .top_k = 8, .expert_width = 1536});
    return {first, second, third, large};
}

}  // namespace sy::model
