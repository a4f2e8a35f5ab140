// olmoe, qwen2moe and grok: every layer is a mixture whose routing the graph fixes.
#include <cmath>

#include "runtime/interchange/gguf/keys.hpp"
#include "runtime/interchange/gguf/requirements.hpp"
#include "runtime/interchange/gguf/tensors.hpp"

namespace sy::runtime::gguf {
namespace {

using model::Biases;
using model::QkNorm;
using model::RopePairs;

void every_layer_a_mixture(const Config& config, Requirements& requirements) {
    requirements.require(leading_dense_layers(config) == 0, "moe.layers: only all");
    requirements.trailing_mixtures();
}

// --- olmoe: norms over all heads together, nothing renormalised.

std::vector<std::string> olmoe_problems(const Config& config) {
    const model::ModelConfig& model = config.model;
    Requirements requirements(config);
    requirements.rms_decoder();
    requirements.grouped_attention(Requirements::Rotation::whole);
    requirements.usual_widths();
    requirements.require(model.attention.qk_norm == QkNorm::projection, "attention.qk_norm: only projection");
    requirements.require(model.attention.bias == Biases::none, "attention.bias: only none");
    requirements.require(model.kv_heads == model.heads, "model.kv_heads: only as many as model.heads");
    every_layer_a_mixture(config, requirements);
    requirements.top_k_routing();
    requirements.require(!config.moe.renormalise, "moe.renormalise: only no");
    requirements.require(config.moe.shared_experts == 0, "moe.shared_experts: only 0");
    return requirements.take();
}

void olmoe_keys(const Config& config, KeyList& keys) {
    add_decoder_keys(config, keys);
    add_rotary_keys(config, keys);
    add_expert_counts(config, keys);
    keys.number("feed_forward_length", config.moe.expert_width);
}

void olmoe_tensors(const Config& config, ModelBuilder& builder) {
    DecoderTensors tensors(config, builder);
    tensors.add_ends();
    for (index_t layer = 0; layer < config.model.layers; ++layer) tensors.add_mixture_block(layer);
}

void olmoe_settings(const KeyReader& keys, Config& config) {
    read_decoder_settings(keys, config);
    read_rotary_settings(keys, RopePairs::half_split, config.model.head_dim, config);
    read_expert_counts(keys, config);
    config.model.attention.qk_norm = QkNorm::projection;
    config.moe.renormalise = false;
    config.moe.expert_width = config.model.ffn_width;
}

// --- qwen2moe: shared experts behind a gate, nothing renormalised.

std::vector<std::string> qwen2moe_problems(const Config& config) {
    const model::ModelConfig& model = config.model;
    Requirements requirements(config);
    requirements.rms_decoder();
    requirements.grouped_attention(Requirements::Rotation::whole);
    requirements.usual_widths();
    requirements.require(model.attention.qk_norm == QkNorm::none, "attention.qk_norm: only no");
    requirements.require(model.attention.bias == Biases::query_key_value,
                         "attention.bias: only query_key_value");
    every_layer_a_mixture(config, requirements);
    requirements.top_k_routing();
    requirements.require(!config.moe.renormalise, "moe.renormalise: only no");
    requirements.require(config.moe.shared_gate, "moe.shared_gate: only yes");
    return requirements.take();
}

void qwen2moe_keys(const Config& config, KeyList& keys) {
    add_decoder_keys(config, keys);
    add_rotary_keys(config, keys);
    add_expert_counts(config, keys);
    keys.number("feed_forward_length", config.model.ffn_width);
    keys.number("expert_feed_forward_length", config.moe.expert_width);
    keys.number("expert_shared_feed_forward_length", config.moe.shared_experts * config.moe.expert_width);
}

void qwen2moe_tensors(const Config& config, ModelBuilder& builder) {
    DecoderTensors tensors(config, builder);
    tensors.add_ends();
    for (index_t layer = 0; layer < config.model.layers; ++layer) {
        tensors.add_mixture_block(layer);
        tensors.add_shared_experts(layer);
        tensors.add_shared_gate(layer);
    }
}

void qwen2moe_settings(const KeyReader& keys, Config& config) {
    read_decoder_settings(keys, config);
    read_rotary_settings(keys, RopePairs::half_split, config.model.head_dim, config);
    read_expert_counts(keys, config);
    config.model.attention.bias = Biases::query_key_value;
    model::MoeConfig& moe = config.moe;
    moe.renormalise = false;
    moe.expert_width = keys.number("expert_feed_forward_length");
    if (moe.expert_width < 1) throw IoError("GGUF: expert_feed_forward_length is not positive");
    // A width that is no multiple shows when the keys of these settings are compared with the file's.
    moe.shared_experts = keys.number("expert_shared_feed_forward_length") / moe.expert_width;
    moe.shared_gate = true;
}

// --- grok: norms on both sides, GELU, scores and logits scaled and capped as keys say.

std::vector<std::string> grok_problems(const Config& config) {
    const model::ModelConfig& model = config.model;
    Requirements requirements(config);
    requirements.decoder();
    requirements.grouped_attention(Requirements::Rotation::whole);
    requirements.require(model.position.kind == model::PositionKind::rope, "position.kind: only rope");
    requirements.require(model.norm == model::NormKind::rms && !model.norm_bias,
                         "model.norm, model.norm_bias: only rms without bias");
    requirements.require(model.norm_placement == model::NormPlacement::both,
                         "model.norm_placement: only both");
    requirements.require(!model.embedding_norm, "model.embedding_norm: only no");
    requirements.require(model.activation == model::Activation::geglu_tanh,
                         "model.activation: only geglu_tanh");
    requirements.require(model.head_width() * model.heads == model.hidden,
                         "model.head_dim: only hidden / heads");
    const model::AttentionConfig& attention = model.attention;
    requirements.require(attention.qk_norm == QkNorm::none && attention.bias == Biases::none &&
                             attention.clip_qkv == 0.0 && attention.window == 0,
                         "attention.qk_norm, bias, clip_qkv, window: only no, none, 0 and 0");
    requirements.require(attention.softcap > 0.0, "attention.softcap: only above 0");
    every_layer_a_mixture(config, requirements);
    requirements.plain_routing();
    return requirements.take();
}

void grok_keys(const Config& config, KeyList& keys) {
    const model::ModelConfig& model = config.model;
    const double usual = 1.0 / std::sqrt(static_cast<double>(model.head_width()));
    add_decoder_keys(config, keys);
    add_rotary_keys(config, keys);
    add_expert_counts(config, keys);
    keys.number("feed_forward_length", config.moe.expert_width);
    keys.number("expert_feed_forward_length", config.moe.expert_width);
    keys.real("embedding_scale", model.embedding_scale);
    keys.real("logit_scale", model.logit_scale);
    keys.real("attention.output_scale", model.attention.scale > 0.0 ? model.attention.scale : usual);
    keys.real("attn_logit_softcapping", model.attention.softcap);
    keys.real("router_logit_softcapping", 0.0);
    keys.real("final_logit_softcapping", model.logit_softcap);
}

void grok_tensors(const Config& config, ModelBuilder& builder) {
    DecoderTensors tensors(config, builder);
    tensors.add_ends();
    for (index_t layer = 0; layer < config.model.layers; ++layer) {
        tensors.add_norm(layer, "attn_norm", "attention_norm");
        tensors.add_attention(layer, to_halves(config));
        tensors.add_norm(layer, "attn_output_norm", "attention_output_norm");
        tensors.add_norm(layer, "ffn_norm", "feed_forward_norm");
        tensors.add_mixture(layer);
        tensors.add_norm(layer, "layer_output_norm", "feed_forward_output_norm");
    }
}

void grok_settings(const KeyReader& keys, Config& config) {
    read_decoder_settings(keys, config);
    read_rotary_settings(keys, RopePairs::half_split, config.model.head_dim, config);
    read_expert_counts(keys, config);
    model::ModelConfig& model = config.model;
    model.norm_placement = model::NormPlacement::both;
    model.activation = model::Activation::geglu_tanh;
    // What files of Grok-1 leave out.
    model.embedding_scale = keys.real_or("embedding_scale", 78.38367176906169);
    model.logit_scale = keys.real_or("logit_scale", 0.5773502691896257);
    model.attention.scale = keys.real_or("attention.output_scale", 0.08838834764831845);
    model.attention.softcap = keys.real_or("attn_logit_softcapping", 30.0);
    model.logit_softcap = keys.real_or("final_logit_softcapping", 0.0);
    config.moe.expert_width = keys.number_or("expert_feed_forward_length", model.ffn_width);
}

}  // namespace

const Architecture kOlmoe{"olmoe", olmoe_problems, olmoe_keys, olmoe_tensors, olmoe_settings};
const Architecture kQwen2Moe{"qwen2moe", qwen2moe_problems, qwen2moe_keys, qwen2moe_tensors,
                             qwen2moe_settings};
const Architecture kGrok{"grok", grok_problems, grok_keys, grok_tensors, grok_settings};

}  // namespace sy::runtime::gguf
