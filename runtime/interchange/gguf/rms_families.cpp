// llama, qwen3moe, glm4moe, deepseek2 and gemma2: decoders with RMS norms.
#include <algorithm>
#include <cmath>

#include "runtime/interchange/gguf/keys.hpp"
#include "runtime/interchange/gguf/requirements.hpp"
#include "runtime/interchange/gguf/tensors.hpp"

namespace sy::runtime::gguf {
namespace {

using model::Biases;
using model::QkNorm;
using model::RopePairs;

Biases biases_of(const KeyReader& keys) {
    if (keys.has_tensor("blk.0.attn_output.bias")) return Biases::all;
    return keys.has_tensor("blk.0.attn_q.bias") ? Biases::query_key_value : Biases::none;
}

// --- llama: Llama, Mistral and Mixtral. Neighbours are rotated.

std::vector<std::string> llama_problems(const Config& config) {
    Requirements requirements(config);
    requirements.rms_decoder();
    requirements.grouped_attention(Requirements::Rotation::whole);
    requirements.require(config.model.attention.qk_norm == QkNorm::none, "attention.qk_norm: only no");
    if (has_mixture(config)) {
        requirements.require(leading_dense_layers(config) == 0, "moe.layers: only all or none");
        requirements.trailing_mixtures();
        requirements.plain_routing();
    }
    return requirements.take();
}

void llama_keys(const Config& config, KeyList& keys) {
    add_decoder_keys(config, keys);
    add_rotary_keys(config, keys);
    keys.number("feed_forward_length",
                has_mixture(config) ? config.moe.expert_width : config.model.ffn_width);
    if (has_mixture(config)) add_expert_counts(config, keys);
}

void llama_tensors(const Config& config, ModelBuilder& builder) {
    DecoderTensors tensors(config, builder);
    tensors.add_ends();
    for (index_t layer = 0; layer < config.model.layers; ++layer) {
        tensors.add_norm(layer, "attn_norm", "attention_norm");
        tensors.add_attention(layer, to_pairs(config));
        tensors.add_norm(layer, "ffn_norm", "feed_forward_norm");
        if (has_mixture(config)) {
            tensors.add_mixture(layer);
        } else {
            tensors.add_feed_forward(layer);
        }
    }
}

void llama_settings(const KeyReader& keys, Config& config) {
    read_decoder_settings(keys, config);
    read_rotary_settings(keys, RopePairs::interleaved, config.model.head_dim, config);
    config.model.attention.bias = biases_of(keys);
    if (keys.number_or("expert_count", 0) == 0) return;
    read_expert_counts(keys, config);
    config.moe.expert_width = config.model.ffn_width;
}

// --- qwen3moe. Halves are rotated, query and key heads are normed.

std::vector<std::string> qwen3moe_problems(const Config& config) {
    Requirements requirements(config);
    requirements.rms_decoder();
    requirements.grouped_attention(Requirements::Rotation::whole);
    requirements.require(config.model.attention.qk_norm == QkNorm::head, "attention.qk_norm: only yes");
    requirements.require(config.model.attention.bias == Biases::none, "attention.bias: only none");
    requirements.require(leading_dense_layers(config) == 0, "moe.layers: only all");
    requirements.trailing_mixtures();
    requirements.plain_routing();
    return requirements.take();
}

void qwen3moe_keys(const Config& config, KeyList& keys) {
    add_decoder_keys(config, keys);
    add_rotary_keys(config, keys);
    add_expert_counts(config, keys);
    keys.number("feed_forward_length", config.model.ffn_width);
    keys.number("expert_feed_forward_length", config.moe.expert_width);
}

void qwen3moe_tensors(const Config& config, ModelBuilder& builder) {
    DecoderTensors tensors(config, builder);
    tensors.add_ends();
    for (index_t layer = 0; layer < config.model.layers; ++layer) tensors.add_mixture_block(layer);
}

void qwen3moe_settings(const KeyReader& keys, Config& config) {
    read_decoder_settings(keys, config);
    read_rotary_settings(keys, RopePairs::half_split, config.model.head_dim, config);
    read_expert_counts(keys, config);
    config.model.attention.qk_norm = QkNorm::head;
    config.moe.expert_width = keys.number("expert_feed_forward_length");
}

// --- glm4moe: any routing that metadata describe, behind leading dense layers.

std::vector<std::string> glm4moe_problems(const Config& config) {
    Requirements requirements(config);
    requirements.rms_decoder();
    requirements.grouped_attention(Requirements::Rotation::partial);
    requirements.require(config.model.attention.bias != Biases::all,
                         "attention.bias: only none or query_key_value");
    requirements.require(config.model.attention.qk_norm != QkNorm::projection,
                         "attention.qk_norm: only no or yes");
    requirements.trailing_mixtures();
    requirements.described_routing();
    return requirements.take();
}

void glm4moe_keys(const Config& config, KeyList& keys) {
    add_decoder_keys(config, keys);
    add_rotary_keys(config, keys);
    keys.number("feed_forward_length", config.model.ffn_width);
    add_described_routing(config, keys);
}

void glm4moe_tensors(const Config& config, ModelBuilder& builder) {
    DecoderTensors tensors(config, builder);
    tensors.add_ends();
    for (index_t layer = 0; layer < config.model.layers; ++layer) {
        tensors.add_norm(layer, "attn_norm", "attention_norm");
        tensors.add_attention(layer, to_halves(config));
        tensors.add_norm(layer, "post_attention_norm", "feed_forward_norm");
        if (layer < leading_dense_layers(config)) {
            tensors.add_feed_forward(layer);
            continue;
        }
        tensors.add_mixture(layer);
        tensors.add_selection_bias(layer);
        tensors.add_shared_experts(layer);
    }
}

void glm4moe_settings(const KeyReader& keys, Config& config) {
    read_decoder_settings(keys, config);
    read_rotary_settings(keys, RopePairs::half_split, config.model.head_dim, config);
    read_described_routing(keys, model::Score::sigmoid, config);
    config.model.attention.bias = biases_of(keys);
    config.model.attention.qk_norm =
        keys.has_tensor("blk.0.attn_q_norm.weight") ? QkNorm::head : QkNorm::none;
}

// --- deepseek2: latent attention, run as one head over the compressed rows.

std::vector<std::string> deepseek2_problems(const Config& config) {
    const model::ModelConfig& model = config.model;
    Requirements requirements(config);
    requirements.rms_decoder();
    requirements.require(model.attention.kind == model::AttentionKind::latent, "attention.kind: only latent");
    requirements.require(model.attention.qk_norm == QkNorm::none, "attention.qk_norm: only no");
    requirements.require(model.attention.bias == Biases::none, "attention.bias: only none");
    requirements.require(
        model.attention.query_rank == 0 || (model.layers != 26 && model.layers != 27),
        "model.layers: not 26 or 27 with attention.query_rank, which llama.cpp would not read");
    requirements.trailing_mixtures();
    requirements.described_routing();
    return requirements.take();
}

void deepseek2_keys(const Config& config, KeyList& keys) {
    const model::ModelConfig& model = config.model;
    const index_t rotary = model.attention.rope_dim;
    add_decoder_keys(config, keys);
    add_rotary_keys(config, keys);
    keys.number("feed_forward_length", model.ffn_width);
    keys.number("attention.head_count_kv", 1);
    keys.number("attention.key_length", model.attention.kv_rank + rotary);
    keys.number("attention.value_length", model.attention.kv_rank);
    keys.number("attention.key_length_mla", model.head_width() + rotary);
    keys.number("attention.value_length_mla", value_width(model));
    keys.number("attention.q_lora_rank", model.attention.query_rank);
    keys.number("attention.kv_lora_rank", model.attention.kv_rank);
    add_described_routing(config, keys);
}

void deepseek2_tensors(const Config& config, ModelBuilder& builder) {
    DecoderTensors tensors(config, builder);
    tensors.add_ends();
    for (index_t layer = 0; layer < config.model.layers; ++layer) {
        tensors.add_norm(layer, "attn_norm", "attention_norm");
        tensors.add_latent_attention(layer);
        tensors.add_norm(layer, "ffn_norm", "feed_forward_norm");
        if (layer < leading_dense_layers(config)) {
            tensors.add_feed_forward(layer);
            continue;
        }
        tensors.add_mixture(layer);
        tensors.add_selection_bias(layer);
        tensors.add_shared_experts(layer);
    }
}

void deepseek2_settings(const KeyReader& keys, Config& config) {
    read_decoder_settings(keys, config);
    model::ModelConfig& model = config.model;
    model.attention.kind = model::AttentionKind::latent;
    model.attention.rope_dim = keys.number("rope.dimension_count");
    model.attention.kv_rank = keys.number("attention.kv_lora_rank");
    model.attention.query_rank = keys.number_or("attention.q_lora_rank", 0);
    model.attention.value_dim = keys.number("attention.value_length_mla");
    model.head_dim = keys.number("attention.key_length_mla") - model.attention.rope_dim;
    model.kv_heads = model.heads;
    read_rotary_settings(keys, RopePairs::interleaved, 0, config);
    read_described_routing(keys, model::Score::softmax, config);
}

// --- gemma2: norms on both sides, caps, every second layer in a window.

std::vector<std::string> gemma2_problems(const Config& config) {
    const model::ModelConfig& model = config.model;
    Requirements requirements(config);
    requirements.decoder();
    requirements.dense();
    requirements.grouped_attention(Requirements::Rotation::whole);
    requirements.require(model.position.kind == model::PositionKind::rope, "position.kind: only rope");
    requirements.require(model.norm == model::NormKind::rms && !model.norm_bias,
                         "model.norm, model.norm_bias: only rms without bias");
    requirements.require(model.norm_placement == model::NormPlacement::both,
                         "model.norm_placement: only both");
    requirements.require(!model.embedding_norm, "model.embedding_norm: only no");
    const double scale = std::sqrt(static_cast<double>(model.hidden));
    requirements.require(std::abs(model.embedding_scale - scale) <= 1e-6 * scale,
                         "model.embedding_scale: only sqrt(model.hidden)");
    requirements.require(model.tied_head && model.logit_scale == 1.0,
                         "model.tied_head, model.logit_scale: only yes and 1");
    requirements.require(model.attention.clip_qkv == 0.0, "attention.clip_qkv: only 0");
    requirements.require(model.activation == model::Activation::geglu_tanh && !model.ffn_bias,
                         "model.activation, model.ffn_bias: only geglu_tanh without bias");
    requirements.require(model.logit_softcap > 0.0 && model.attention.softcap > 0.0,
                         "model.logit_softcap, attention.softcap: only above 0");
    requirements.require(model.attention.qk_norm == QkNorm::none && model.attention.bias == Biases::none,
                         "attention.qk_norm, attention.bias: only no and none");
    requirements.require(model.layers != 46 && has_usual_scale(model),
                         "attention.scale, model.layers: only 1 / sqrt(head width), and not 46 layers, which "
                         "llama.cpp scales otherwise");
    const std::vector<bool> windows =
        model::layer_pattern("attention.window_layers", model.attention.window_layers, model.layers);
    bool alternate = model.attention.window > 0;
    for (std::size_t layer = 0; layer < windows.size(); ++layer)
        alternate = alternate && windows[layer] == (layer % 2 == 0);
    requirements.require(alternate, "attention.window, attention.window_layers: only layers 0, 2, 4, ...");
    return requirements.take();
}

void gemma2_keys(const Config& config, KeyList& keys) {
    add_decoder_keys(config, keys);
    add_rotary_keys(config, keys);
    keys.number("feed_forward_length", config.model.ffn_width);
    keys.number("attention.sliding_window", config.model.attention.window);
    keys.real("attn_logit_softcapping", config.model.attention.softcap);
    keys.real("final_logit_softcapping", config.model.logit_softcap);
}

void gemma2_tensors(const Config& config, ModelBuilder& builder) {
    DecoderTensors tensors(config, builder);
    tensors.add_ends();
    for (index_t layer = 0; layer < config.model.layers; ++layer) {
        tensors.add_norm(layer, "attn_norm", "attention_norm");
        tensors.add_attention(layer, to_halves(config));
        tensors.add_norm(layer, "post_attention_norm", "attention_output_norm");
        tensors.add_norm(layer, "ffn_norm", "feed_forward_norm");
        tensors.add_feed_forward(layer);
        tensors.add_norm(layer, "post_ffw_norm", "feed_forward_output_norm");
    }
}

void gemma2_settings(const KeyReader& keys, Config& config) {
    read_decoder_settings(keys, config);
    read_rotary_settings(keys, RopePairs::half_split, config.model.head_dim, config);
    model::ModelConfig& model = config.model;
    model.norm_placement = model::NormPlacement::both;
    model.embedding_scale = std::sqrt(static_cast<double>(model.hidden));
    model.activation = model::Activation::geglu_tanh;
    model.attention.window = keys.number_or("attention.sliding_window", 4096);
    model.attention.softcap = keys.real_or("attn_logit_softcapping", 50.0);
    model.logit_softcap = keys.real_or("final_logit_softcapping", 30.0);
    std::string even;
    for (index_t layer = 0; layer < std::min(model.layers, kMostLayers); layer += 2)
        even += concat(even.empty() ? "" : ",", layer);
    model.attention.window_layers = std::move(even);
}

}  // namespace

const Architecture kLlama{"llama", llama_problems, llama_keys, llama_tensors, llama_settings};
const Architecture kQwen3Moe{"qwen3moe", qwen3moe_problems, qwen3moe_keys, qwen3moe_tensors,
                             qwen3moe_settings};
const Architecture kGlm4Moe{"glm4moe", glm4moe_problems, glm4moe_keys, glm4moe_tensors, glm4moe_settings};
const Architecture kDeepseek2{"deepseek2", deepseek2_problems, deepseek2_keys, deepseek2_tensors,
                              deepseek2_settings};
const Architecture kGemma2{"gemma2", gemma2_problems, gemma2_keys, gemma2_tensors, gemma2_settings};

}  // namespace sy::runtime::gguf
