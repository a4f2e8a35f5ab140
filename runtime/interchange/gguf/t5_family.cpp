// t5: an encoder and a decoder with buckets of relative positions.
#include "model/objective/spans.hpp"
#include "runtime/interchange/gguf/keys.hpp"
#include "runtime/interchange/gguf/requirements.hpp"

namespace sy::runtime::gguf {
namespace {

using model::Activation;

/// Distances beyond which llama.cpp's buckets do not go.
constexpr index_t kMaxDistance = 128;

std::vector<std::string> t5_problems(const Config& config) {
    const model::ModelConfig& model = config.model;
    Requirements requirements(config);
    requirements.sizes();
    requirements.plain_head();
    requirements.dense();
    requirements.require(model.architecture == model::Architecture::encoder_decoder,
                         "model.architecture: only encoder_decoder");
    requirements.require(model.wiring == model::Wiring::serial, "model.wiring: only serial");
    requirements.require(
        model.position.kind == model::PositionKind::t5 && model.position.t5_max_distance == kMaxDistance,
        "position.kind, position.t5_max_distance: only t5 and 128");
    requirements.require(model.norm == model::NormKind::rms && !model.norm_bias,
                         "model.norm, model.norm_bias: only rms without bias");
    requirements.require(model.norm_placement == model::NormPlacement::pre, "model.norm_placement: only pre");
    requirements.require(!model.embedding_norm && model.embedding_scale == 1.0 && model.logit_softcap == 0.0,
                         "model.embedding_norm, embedding_scale, logit_softcap: only no, 1 and 0");
    requirements.require(model.tied_head || model.logit_scale == 1.0,
                         "model.logit_scale: only 1 with a head of its own");
    requirements.require(
        (model.activation == Activation::relu || model.activation == Activation::geglu_tanh) &&
            !model.ffn_bias,
        "model.activation, model.ffn_bias: only relu or geglu_tanh without bias");
    const model::AttentionConfig& attention = model.attention;
    requirements.require(attention.kind == model::AttentionKind::grouped && model.kv_heads == model.heads,
                         "attention.kind, model.kv_heads: only grouped, as many as model.heads");
    requirements.require(attention.scale == 1.0 && attention.softcap == 0.0 && attention.clip_qkv == 0.0,
                         "attention.scale, softcap, clip_qkv: only 1, 0 and 0");
    requirements.require(attention.qk_norm == model::QkNorm::none && attention.bias == model::Biases::none,
                         "attention.qk_norm, attention.bias: only no and none");
    return requirements.take();
}

void t5_keys(const Config& config, KeyList& keys) {
    const model::ModelConfig& model = config.model;
    keys.number("context_length", model.seq_len);
    keys.number("embedding_length", model.hidden);
    keys.number("block_count", model.num_encoder_layers());
    keys.number("decoder_block_count", model.layers);
    keys.number("vocab_size", model.vocab_size);
    keys.number("feed_forward_length", model.ffn_width);
    keys.number("attention.head_count", model.heads);
    keys.number("attention.key_length", model.head_width());
    keys.number("attention.value_length", model.head_width());
    keys.real("attention.layer_norm_epsilon", model.norm_eps);
    keys.real("attention.layer_norm_rms_epsilon", model.norm_eps);
    keys.number("attention.relative_buckets_count", model.position.t5_buckets);
    keys.number("decoder_start_token_id", model::start_id(model));
}

void add_matrices(ModelBuilder& builder, const std::string& theirs, const std::string& ours) {
    builder.same(theirs + "norm.weight", ours + "_norm.gain");
    builder.transposed(theirs + "q.weight", ours + ".query");
    builder.transposed(theirs + "k.weight", ours + ".key");
    builder.transposed(theirs + "v.weight", ours + ".value");
    builder.transposed(theirs + "o.weight", ours + ".output");
}

void add_stack(ModelBuilder& builder, const std::string& theirs, const std::string& ours,
               index_t num_layers) {
    builder.same(theirs + "blk.0.attn_rel_b.weight", ours + "position_bias");
    for (index_t layer = 0; layer < num_layers; ++layer) {
        const std::string block = concat(theirs, "blk.", layer, ".");
        const std::string name = concat(ours, "layers.", layer, ".");
        add_matrices(builder, block + "attn_", name + "attention");
        if (builder.has(name + "cross_attention.query"))
            add_matrices(builder, block + "cross_attn_", name + "cross_attention");
        builder.same(block + "ffn_norm.weight", name + "feed_forward_norm.gain");
        for (const std::string part : {"gate", "up", "down"})
            if (builder.has(name + "feed_forward." + part))
                builder.transposed(block + "ffn_" + part + ".weight", name + "feed_forward." + part);
    }
    builder.same(theirs + "output_norm.weight", ours + "final_norm.gain");
}

void t5_tensors(const Config& config, ModelBuilder& builder) {
    const model::ModelConfig& model = config.model;
    builder.same("token_embd.weight", "embedding.weight");
    add_stack(builder, "enc.", "encoder.", model.num_encoder_layers());
    add_stack(builder, "dec.", "", model.layers);
    if (!model.tied_head) {
        builder.transposed("output.weight", "head.weight");
    } else if (model.logit_scale != 1.0) {
        // The graph scales nothing: the head is the embedding, scaled.
        ForeignPart& head = builder.same("output.weight", "embedding.weight");
        head.source = ForeignPart::Source::repeated;
        head.factor = static_cast<float>(model.logit_scale);
    }
}

void t5_settings(const KeyReader& keys, Config& config) {
    model::ModelConfig& model = config.model;
    model.architecture = model::Architecture::encoder_decoder;
    model.seq_len = keys.number("context_length");
    model.hidden = keys.number("embedding_length");
    model.encoder_layers = keys.number("block_count");
    model.layers = keys.number_or("decoder_block_count", model.encoder_layers);
    model.vocab_size = keys.number("vocab_size");
    model.ffn_width = keys.number("feed_forward_length");
    model.heads = model.kv_heads = keys.number("attention.head_count");
    model.head_dim = keys.number("attention.key_length");
    model.tied_head = !keys.has_tensor("output.weight");
    config.moe.layers = "none";
    model.norm_eps = keys.real("attention.layer_norm_rms_epsilon");
    model.position.kind = model::PositionKind::t5;
    model.position.t5_buckets = keys.number("attention.relative_buckets_count");
    model.position.t5_max_distance = kMaxDistance;
    model.attention.scale = 1.0;
    model.activation =
        keys.has_tensor("enc.blk.0.ffn_gate.weight") ? Activation::geglu_tanh : Activation::relu;
}

}  // namespace

const Architecture kT5{"t5", t5_problems, t5_keys, t5_tensors, t5_settings};

}  // namespace sy::runtime::gguf
