#include <cmath>

#include "runtime/interchange/families/decoder.hpp"
#include "runtime/interchange/families/families.hpp"
#include "runtime/interchange/hf_settings.hpp"

namespace sy::runtime::hf {
namespace {

constexpr const char* kWindowed = "sliding_attention";
constexpr const char* kFull = "full_attention";

/// The class multiplies by 1 + weight.
void add_shifted_norm(ModelBuilder& builder, const std::string& theirs, const std::string& ours) {
    builder.same(theirs + ".weight", ours + ".gain").addend = -1.0F;
}

ForeignModel tensors(const Config& config, const TensorShapes& ours, ExpertLayout) {
    const RotaryOrder order = rotary_order(config.model, model::RopePairs::half_split);
    ModelBuilder builder(ours);
    builder.same("model.embed_tokens.weight", "embedding.weight");
    for (index_t layer = 0; layer < config.model.layers; ++layer) {
        const std::string theirs = "model." + layer_name(layer);
        const std::string name = layer_name(layer);
        add_shifted_norm(builder, theirs + "input_layernorm", name + "attention_norm");
        add_linear(builder, theirs + "self_attn.q_proj", name + "attention.query", order);
        add_linear(builder, theirs + "self_attn.k_proj", name + "attention.key", order);
        add_linear(builder, theirs + "self_attn.v_proj", name + "attention.value");
        add_linear(builder, theirs + "self_attn.o_proj", name + "attention.output");
        add_shifted_norm(builder, theirs + "post_attention_layernorm", name + "attention_output_norm");
        add_shifted_norm(builder, theirs + "pre_feedforward_layernorm", name + "feed_forward_norm");
        add_gated(builder, theirs + "mlp", name + "feed_forward");
        add_shifted_norm(builder, theirs + "post_feedforward_layernorm", name + "feed_forward_output_norm");
    }
    add_shifted_norm(builder, "model.norm", "final_norm");
    if (!config.model.tied_head) builder.transposed("lm_head.weight", "head.weight");
    return builder.take();
}

/// The whole number whose inverse root the scores are multiplied by; there are no others in the class.
index_t query_scalar(const model::ModelConfig& model) {
    const double scale = model.attention.scale;
    return scale > 0.0 ? std::llround(1.0 / (scale * scale)) : model.head_dim;
}

Json cap(double value) {
    return value > 0.0 ? Json(value) : Json();
}

Json::Object write(const Config& config) {
    const model::ModelConfig& model = config.model;
    Json::Object keys = decoder_config(config);
    keys.push_back({"head_dim", model.head_dim});
    keys.push_back({"hidden_activation", activation_key(model.activation)});
    keys.push_back({"attention_bias", model.attention.bias == model::Biases::all});
    keys.push_back({"attn_logit_softcapping", cap(model.attention.softcap)});
    keys.push_back({"final_logit_softcapping", cap(model.logit_softcap)});
    keys.push_back({"query_pre_attn_scalar", query_scalar(model)});
    const std::vector<bool> windowed =
        model::layer_pattern("attention.window_layers", model.attention.window_layers, model.layers);
    Json::Array types;
    for (const bool is_windowed : windowed)
        types.emplace_back(is_windowed && model.attention.window > 0 ? kWindowed : kFull);
    keys.push_back({"sliding_window", std::max<index_t>(model.attention.window, 1)});
    keys.push_back({"layer_types", std::move(types)});
    return keys;
}

void read_layer_types(ConfigKeys& keys, Config& config) {
    model::AttentionConfig& attention = config.model.attention;
    attention.window = keys.whole("sliding_window", 4096);
    std::vector<std::string> types = keys.texts("layer_types");
    if (types.empty()) {
        for (index_t layer = 0; layer < config.model.layers; ++layer)
            types.emplace_back(layer % 2 == 0 ? kWindowed : kFull);
    }
    std::vector<bool> windowed;
    for (const std::string& type : types) {
        if (type != kWindowed && type != kFull) keys.problem(concat("layer_types has ", type));
        windowed.push_back(type == kWindowed);
    }
    if (std::ssize(windowed) != config.model.layers) {
        keys.problem(
            concat("layer_types has ", types.size(), " layers, num_hidden_layers is ", config.model.layers));
        return;
    }
    attention.window_layers = short_pattern(windowed);
    if (attention.window_layers == "none") attention.window = 0;
}

void read(ConfigKeys& keys, Config& config) {
    set_dense(config);
    read_decoder(keys, config);
    model::ModelConfig& model = config.model;
    read_activation(keys, config, "hidden_activation", "gelu_pytorch_tanh", Gated::yes);
    model.tied_head = keys.flag("tie_word_embeddings", true);
    model.head_dim = keys.whole("head_dim", 256);
    model.norm_placement = model::NormPlacement::both;
    model.embedding_scale = std::sqrt(static_cast<double>(model.hidden));
    model.attention.bias = keys.flag("attention_bias", false) ? model::Biases::all : model::Biases::none;
    model.attention.softcap = keys.number("attn_logit_softcapping", 0.0);
    model.logit_softcap = keys.number("final_logit_softcapping", 0.0);
    model.attention.scale = 1.0 / std::sqrt(keys.number("query_pre_attn_scalar", 256.0));
    keys.ignore({"cache_implementation", "use_bidirectional_attention"});
    read_layer_types(keys, config);
}

}  // namespace

const HfFamily kGemma2{"gemma2", "Gemma2ForCausalLM", write, read, tensors};

}  // namespace sy::runtime::hf
