#include <cmath>
#include <limits>

#include "model/objective/spans.hpp"
#include "runtime/interchange/families/decoder.hpp"
#include "runtime/interchange/families/families.hpp"
#include "runtime/interchange/hf_settings.hpp"

/// T5 and Switch Transformers: encoders and decoders with buckets of relative positions.
namespace sy::runtime::hf {
namespace {

/// Where a stack is called what: the names of a layer's feed-forward differ between the classes.
struct Names {
    const char* feed_forward;
    const char* gate;
    const char* up;
};
constexpr Names kDenseNames{"DenseReluDense", "", "wi"};
constexpr Names kGatedNames{"DenseReluDense", "wi_0", "wi_1"};
constexpr Names kSwitchNames{"mlp", "", "wi"};

void add_attention(ModelBuilder& builder, const std::string& theirs, const std::string& attention,
                   const std::string& ours) {
    builder.same(theirs + "layer_norm.weight", ours + "_norm.gain");
    const std::string block = theirs + attention + ".";
    builder.transposed(block + "q.weight", ours + ".query");
    builder.transposed(block + "k.weight", ours + ".key");
    builder.transposed(block + "v.weight", ours + ".value");
    builder.transposed(block + "o.weight", ours + ".output");
}

void add_feed_forward(ModelBuilder& builder, const Names& names, const std::string& theirs,
                      const std::string& ours) {
    builder.same(theirs + "layer_norm.weight", ours + "feed_forward_norm.gain");
    const std::string block = concat(theirs, names.feed_forward, ".");
    if (!builder.has(ours + "moe.router")) {
        if (*names.gate != '\0')
            builder.transposed(concat(block, names.gate, ".weight"), ours + "feed_forward.gate");
        builder.transposed(concat(block, names.up, ".weight"), ours + "feed_forward.up");
        builder.transposed(block + "wo.weight", ours + "feed_forward.down");
        return;
    }
    builder.transposed(block + "router.classifier.weight", ours + "moe.router");
    const index_t experts = builder.shape(ours + "moe.experts.up")[0];
    for (index_t expert = 0; expert < experts; ++expert) {
        const std::string prefix = concat(block, "experts.expert_", expert, ".");
        builder.transposed(prefix + "wi.weight", ours + "moe.experts.up", expert);
        builder.transposed(prefix + "wo.weight", ours + "moe.experts.down", expert);
    }
}

void add_stack(ModelBuilder& builder, const Names& names, const std::string& theirs, const std::string& ours,
               index_t num_layers) {
    builder.same(theirs + "block.0.layer.0.SelfAttention.relative_attention_bias.weight",
                 ours + "position_bias");
    for (index_t layer = 0; layer < num_layers; ++layer) {
        const std::string block = concat(theirs, "block.", layer, ".layer.");
        const std::string name = ours + layer_name(layer);
        add_attention(builder, block + "0.", "SelfAttention", name + "attention");
        const bool reads = builder.has(name + "cross_attention.query");
        if (reads) add_attention(builder, block + "1.", "EncDecAttention", name + "cross_attention");
        add_feed_forward(builder, names, block + (reads ? "2." : "1."), name);
    }
    builder.same(theirs + "final_layer_norm.weight", ours + "final_norm.gain");
}

ForeignModel stacks(const Config& config, const TensorShapes& ours, const Names& names) {
    ModelBuilder builder(ours);
    builder.same("shared.weight", "embedding.weight");
    add_stack(builder, names, "encoder.", "encoder.", config.model.num_encoder_layers());
    add_stack(builder, names, "decoder.", "", config.model.layers);
    if (!config.model.tied_head) builder.transposed("lm_head.weight", "head.weight");
    return builder.take();
}

ForeignModel t5_tensors(const Config& config, const TensorShapes& ours, ExpertLayout) {
    const bool gated = ops::is_gated(config.model.activation);
    return stacks(config, ours, gated ? kGatedNames : kDenseNames);
}

ForeignModel switch_tensors(const Config& config, const TensorShapes& ours, ExpertLayout) {
    return stacks(config, ours, kSwitchNames);
}

double root_scale(const model::ModelConfig& model) {
    return 1.0 / std::sqrt(static_cast<double>(model.hidden));
}

Json::Object write_sizes(const Config& config) {
    const model::ModelConfig& model = config.model;
    return {{"vocab_size", model.vocab_size},
            {"d_model", model.hidden},
            {"d_kv", model.head_dim},
            {"num_layers", model.encoder_layers},
            {"num_decoder_layers", model.layers},
            {"num_heads", model.heads},
            {"n_positions", model.seq_len},
            {"relative_attention_num_buckets", model.position.t5_buckets},
            {"relative_attention_max_distance", model.position.t5_max_distance},
            {"layer_norm_epsilon", model.norm_eps},
            {"dropout_rate", model.dropout},
            {"initializer_factor", 1.0},
            {"tie_word_embeddings", model.tied_head},
            {"is_encoder_decoder", true},
            {"decoder_start_token_id", model::start_id(model)}};
}

void read_sizes(ConfigKeys& keys, Config& config) {
    model::ModelConfig& model = config.model;
    model.architecture = model::Architecture::encoder_decoder;
    model.vocab_size = keys.whole("vocab_size");
    model.hidden = keys.whole("d_model");
    model.head_dim = keys.whole("d_kv", 64);
    model.encoder_layers = keys.whole("num_layers");
    model.layers = keys.whole("num_decoder_layers", model.encoder_layers);
    model.heads = model.kv_heads = keys.whole("num_heads");
    model.seq_len = keys.whole("n_positions", 512);
    model.norm_eps = keys.number("layer_norm_epsilon", 1e-6);
    model.dropout = model.attention.dropout = keys.number("dropout_rate", 0.1);
    model.tied_head = keys.flag("tie_word_embeddings", true);
    model.attention.scale = 1.0;
    model.position.kind = model::PositionKind::t5;
    model.position.t5_buckets = keys.whole("relative_attention_num_buckets", 32);
    model.position.t5_max_distance = keys.whole("relative_attention_max_distance", 128);
    keys.only("is_decoder", false);
    keys.ignore({"initializer_factor", "decoder_start_token_id", "output_past", "task_specific_params",
                 "classifier_dropout", "is_gated_act", "gradient_checkpointing"});
}

/// "relu", "gated-gelu", ...: the gated name stands for GELU with tanh.
std::string feed_forward_key(model::Activation activation) {
    if (activation == model::Activation::geglu_tanh) return "gated-gelu";
    const bool gated = ops::is_gated(activation);
    return (gated ? "gated-" : "") +
           (activation == model::Activation::gelu_tanh ? "gelu_new" : activation_key(activation));
}

Json::Object write_t5(const Config& config) {
    Json::Object keys = write_sizes(config);
    keys.push_back({"d_ff", config.model.ffn_width});
    keys.push_back({"feed_forward_proj", feed_forward_key(config.model.activation)});
    keys.push_back({"scale_decoder_outputs", config.model.logit_scale != 1.0});
    return keys;
}

void read_t5(ConfigKeys& keys, Config& config) {
    set_dense(config);
    read_sizes(keys, config);
    model::ModelConfig& model = config.model;
    model.ffn_width = keys.whole("d_ff");
    const std::string name = keys.text("feed_forward_proj", "relu");
    if (name == "gated-gelu") {
        model.activation = model::Activation::geglu_tanh;
    } else {
        const bool gated = name.starts_with("gated-");
        const Json only_name = Json::Object{{"feed_forward_proj", gated ? name.substr(6) : name}};
        ConfigKeys plain = keys.inside(only_name);
        read_activation(plain, config, "feed_forward_proj", "relu", gated ? Gated::yes : Gated::no);
    }
    if (keys.flag("scale_decoder_outputs", model.tied_head)) model.logit_scale = root_scale(model);
    keys.ignore({"dense_act_fn"});
}

/// Which layers of a stack the class makes mixtures, from how many it is told: i mod (layers / count) = 1, or all.
std::vector<bool> sparse_layers(index_t num_layers, index_t count) {
    const index_t step = count > 0 ? num_layers / count : num_layers;
    std::vector<bool> sparse;
    for (index_t layer = 0; layer < num_layers; ++layer)
        sparse.push_back(step == 1 || (step > 1 && layer % step == 1));
    return sparse;
}

/// The inverse; where there is none, a count that reads as something else.
index_t sparse_count(const model::MoeConfig& moe, index_t num_layers) {
    const std::vector<bool> wanted = model::moe_layers(moe, num_layers);
    for (index_t count = num_layers; count > 0; --count)
        if (sparse_layers(num_layers, count) == wanted) return count;
    return num_layers;
}

Json::Object write_switch(const Config& config) {
    const model::MoeConfig& moe = config.moe;
    Json::Object keys = write_sizes(config);
    keys.push_back({"d_ff", moe.expert_width});
    keys.push_back({"dense_act_fn", activation_key(config.model.activation)});
    keys.push_back({"num_sparse_encoder_layers", sparse_count(moe, config.model.encoder_layers)});
    keys.push_back({"num_sparse_decoder_layers", sparse_count(moe, config.model.layers)});
    keys.push_back({"num_experts", moe.experts});
    // The capacity for a sequence: no choice is dropped.
    keys.push_back({"expert_capacity", std::numeric_limits<std::int32_t>::max()});
    keys.push_back({"router_bias", false});
    keys.push_back({"router_dtype", "float32"});
    keys.push_back({"router_jitter_noise", moe.jitter});
    keys.push_back({"router_z_loss_coef", moe.balance.z_loss});
    keys.push_back({"router_aux_loss_coef", moe.balance.switch_loss});
    return keys;
}

void read_switch(ConfigKeys& keys, Config& config) {
    set_mixture(config);
    read_sizes(keys, config);
    model::ModelConfig& model = config.model;
    model::MoeConfig& moe = config.moe;
    moe.expert_width = model.ffn_width = keys.whole("d_ff");
    read_activation(keys, config, "dense_act_fn", "relu", Gated::no);
    if (model.tied_head) model.logit_scale = root_scale(model);
    const std::vector<bool> encoder =
        sparse_layers(model.encoder_layers, keys.whole("num_sparse_encoder_layers", 3));
    const std::vector<bool> decoder = sparse_layers(model.layers, keys.whole("num_sparse_decoder_layers", 3));
    moe.layers = short_pattern(decoder);
    bool same = encoder == decoder;
    if (!same && (moe.layers.find(',') == std::string::npos))
        same = model::moe_layers(moe, model.encoder_layers) == encoder;
    if (!same)
        keys.problem(
            concat("num_sparse_encoder_layers and num_sparse_decoder_layers give patterns of mixtures "
                   "that are not one pattern, which moe.layers is for both stacks"));
    moe.experts = keys.whole("num_experts", 8);
    moe.top_k = 1;
    moe.renormalise = false;
    moe.jitter = keys.number("router_jitter_noise", 0.01);
    moe.balance.z_loss = keys.number("router_z_loss_coef", 0.001);
    moe.balance.switch_loss = keys.number("router_aux_loss_coef", 0.001);
    keys.only("router_bias", false);
    keys.ignore({"expert_capacity", "router_dtype", "router_ignore_padding_tokens", "add_router_probs",
                 "encoder_sparse_step", "decoder_sparse_step", "router_type", "batch_prioritized_routing",
                 "num_selected_experts", "feed_forward_proj", "add_cross_attention"});
}

}  // namespace

const HfFamily kT5{.name = "t5",
                   .architecture = "T5ForConditionalGeneration",
                   .write_config = write_t5,
                   .read_config = read_t5,
                   .tensors = t5_tensors,
                   .sentencepiece_file = "spiece.model"};
const HfFamily kSwitch{.name = "switch_transformers",
                       .architecture = "SwitchTransformersForConditionalGeneration",
                       .write_config = write_switch,
                       .read_config = read_switch,
                       .tensors = switch_tensors,
                       .sentencepiece_file = "spiece.model"};

}  // namespace sy::runtime::hf
