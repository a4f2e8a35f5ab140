// gpt2 and bloom: decoders with layer norms and biases everywhere. dbrx: layer norms, no bias, mixtures.
#include "runtime/interchange/gguf/keys.hpp"
#include "runtime/interchange/gguf/requirements.hpp"
#include "runtime/interchange/gguf/tensors.hpp"

namespace sy::runtime::gguf {
namespace {

std::vector<std::string> gpt2_problems(const Config& config) {
    Requirements requirements(config);
    requirements.layer_norm_decoder();
    requirements.require(config.model.position.kind == model::PositionKind::learned,
                         "position.kind: only learned");
    requirements.require(!config.model.embedding_norm, "model.embedding_norm: only no");
    return requirements.take();
}

std::vector<std::string> bloom_problems(const Config& config) {
    Requirements requirements(config);
    requirements.layer_norm_decoder();
    requirements.require(config.model.position.kind == model::PositionKind::alibi,
                         "position.kind: only alibi");
    requirements.require(config.model.embedding_norm, "model.embedding_norm: only yes");
    return requirements.take();
}

void add_keys(const Config& config, KeyList& keys) {
    add_decoder_keys(config, keys);
    keys.number("feed_forward_length", config.model.ffn_width);
}

void add_tensors(const Config& config, ModelBuilder& builder) {
    DecoderTensors tensors(config, builder);
    tensors.add_ends();
    for (index_t layer = 0; layer < config.model.layers; ++layer) {
        tensors.add_norm(layer, "attn_norm", "attention_norm");
        tensors.add_fused_attention(layer, RotaryOrder::Change::none);
        tensors.add_norm(layer, "ffn_norm", "feed_forward_norm");
        tensors.add_feed_forward(layer);
    }
}

void read_settings(const KeyReader& keys, Config& config) {
    read_decoder_settings(keys, config);
    model::ModelConfig& model = config.model;
    model.norm = model::NormKind::layer;
    model.norm_bias = true;
    model.activation = model::Activation::gelu_tanh;
    model.ffn_bias = true;
    model.attention.bias = model::Biases::all;
}

void gpt2_settings(const KeyReader& keys, Config& config) {
    read_settings(keys, config);
    config.model.position.kind = model::PositionKind::learned;
}

void bloom_settings(const KeyReader& keys, Config& config) {
    read_settings(keys, config);
    config.model.position.kind = model::PositionKind::alibi;
    config.model.embedding_norm = true;
}

std::vector<std::string> dbrx_problems(const Config& config) {
    const model::ModelConfig& model = config.model;
    Requirements requirements(config);
    requirements.decoder();
    requirements.grouped_attention(Requirements::Rotation::whole);
    requirements.require(model.norm == model::NormKind::layer && !model.norm_bias,
                         "model.norm, model.norm_bias: only layer without bias");
    requirements.require(model.norm_placement == model::NormPlacement::pre, "model.norm_placement: only pre");
    requirements.plain_embedding();
    requirements.plain_attention();
    requirements.require(model.activation == model::Activation::swiglu, "model.activation: only swiglu");
    requirements.require(model.attention.bias == model::Biases::none, "attention.bias: only none");
    requirements.require(model.attention.qk_norm == model::QkNorm::none, "attention.qk_norm: only no");
    requirements.usual_widths();
    requirements.require(model.position.kind == model::PositionKind::rope, "position.kind: only rope");
    requirements.require(leading_dense_layers(config) == 0, "moe.layers: only all");
    requirements.trailing_mixtures();
    requirements.plain_routing();
    return requirements.take();
}

void dbrx_keys(const Config& config, KeyList& keys) {
    add_decoder_keys(config, keys);
    add_rotary_keys(config, keys);
    add_expert_counts(config, keys);
    keys.number("feed_forward_length", config.moe.expert_width);
    keys.real("attention.clamp_kqv", config.model.attention.clip_qkv);  // 0 is no limit
}

void dbrx_tensors(const Config& config, ModelBuilder& builder) {
    DecoderTensors tensors(config, builder);
    tensors.add_ends();
    for (index_t layer = 0; layer < config.model.layers; ++layer) {
        tensors.add_norm(layer, "attn_norm", "attention_norm");
        tensors.add_fused_attention(layer, to_halves(config));
        tensors.add_norm(layer, "attn_output_norm", "feed_forward_norm");
        tensors.add_mixture(layer);
    }
}

void dbrx_settings(const KeyReader& keys, Config& config) {
    read_decoder_settings(keys, config);
    read_rotary_settings(keys, model::RopePairs::half_split, config.model.head_dim, config);
    read_expert_counts(keys, config);
    config.model.norm = model::NormKind::layer;
    config.model.attention.clip_qkv = keys.real_or("attention.clamp_kqv", 0.0);
    config.moe.expert_width = config.model.ffn_width;
}

}  // namespace

const Architecture kGpt2{"gpt2", gpt2_problems, add_keys, add_tensors, gpt2_settings};
const Architecture kBloom{"bloom", bloom_problems, add_keys, add_tensors, bloom_settings};
const Architecture kDbrx{"dbrx", dbrx_problems, dbrx_keys, dbrx_tensors, dbrx_settings};

}  // namespace sy::runtime::gguf
