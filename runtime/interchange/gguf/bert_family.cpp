// bert: an encoder with learned positions and norms behind its sums, up to its hidden states.
#include <algorithm>

#include "runtime/interchange/gguf/keys.hpp"
#include "runtime/interchange/gguf/requirements.hpp"
#include "runtime/interchange/gguf/tensors.hpp"

namespace sy::runtime::gguf {
namespace {

using model::Activation;

std::vector<std::string> bert_problems(const Config& config) {
    const model::ModelConfig& model = config.model;
    const model::AttentionConfig& attention = model.attention;
    Requirements requirements(config);
    requirements.sizes();
    requirements.dense();
    requirements.require(model.architecture == model::Architecture::encoder,
                         "model.architecture: only encoder");
    requirements.require(model.wiring == model::Wiring::serial, "model.wiring: only serial");
    requirements.require(model.position.kind == model::PositionKind::learned, "position.kind: only learned");
    requirements.require(model.norm == model::NormKind::layer && model.norm_bias,
                         "model.norm, model.norm_bias: only layer with bias");
    requirements.require(model.norm_placement == model::NormPlacement::post,
                         "model.norm_placement: only post");
    requirements.require(model.embedding_norm && model.embedding_scale == 1.0,
                         "model.embedding_norm, embedding_scale: only yes and 1");
    requirements.require(
        (model.activation == Activation::gelu || model.activation == Activation::gelu_tanh) && model.ffn_bias,
        "model.activation, model.ffn_bias: only gelu or gelu_tanh with bias");
    requirements.require(attention.kind == model::AttentionKind::grouped && model.kv_heads == model.heads,
                         "attention.kind, model.kv_heads: only grouped, as many as model.heads");
    requirements.require(model.head_width() * model.heads == model.hidden,
                         "model.head_dim: only hidden / heads");
    requirements.require(attention.bias == model::Biases::all && attention.qk_norm == model::QkNorm::none,
                         "attention.bias, attention.qk_norm: only all and no");
    requirements.plain_attention();
    requirements.require(attention.clip_qkv == 0.0, "attention.clip_qkv: only 0");
    return requirements.take();
}

void bert_keys(const Config& config, KeyList& keys) {
    add_decoder_keys(config, keys);
    keys.number("feed_forward_length", config.model.ffn_width);
    keys.flag("attention.causal", false);
    keys.other("tokenizer.ggml.token_type_count",
               narrow<std::uint32_t>(std::max<index_t>(1, config.model.token_types)));
}

void bert_tensors(const Config& config, ModelBuilder& builder) {
    builder.same("token_embd.weight", "embedding.weight");
    builder.same("position_embd.weight", "position_embedding.weight");
    if (config.model.token_types > 0) {
        builder.same("token_types.weight", "token_type.weight");
    } else {
        // llama.cpp adds the first one to every token.
        builder.constant("token_types.weight", Shape{1, config.model.hidden}, 0.0F);
    }
    builder.same("token_embd_norm.weight", "embedding_norm.gain");
    builder.same("token_embd_norm.bias", "embedding_norm.bias");
    DecoderTensors tensors(config, builder);
    for (index_t layer = 0; layer < config.model.layers; ++layer) {
        tensors.add_attention(layer, RotaryOrder::Change::none);
        tensors.add_norm(layer, "attn_output_norm", "attention_norm");
        tensors.add_feed_forward(layer);
        tensors.add_norm(layer, "layer_output_norm", "feed_forward_norm");
    }
}

void bert_settings(const KeyReader& keys, Config& config) {
    read_decoder_settings(keys, config);
    model::ModelConfig& model = config.model;
    model.architecture = model::Architecture::encoder;
    model.norm = model::NormKind::layer;
    model.norm_bias = true;
    model.norm_placement = model::NormPlacement::post;
    model.embedding_norm = true;
    model.activation = Activation::gelu;
    model.ffn_bias = true;
    model.attention.bias = model::Biases::all;
    model.position.kind = model::PositionKind::learned;
    const std::vector<Tensor>& tensors = keys.header().tensors;
    const auto types = std::ranges::find(tensors, "token_types.weight", &Tensor::name);
    model.token_types = types == tensors.end() ? 0 : types->shape[0];
}

}  // namespace

const Architecture kBert{"bert",       bert_problems, bert_keys,
                         bert_tensors, bert_settings, Output::hidden_states};

}  // namespace sy::runtime::gguf
