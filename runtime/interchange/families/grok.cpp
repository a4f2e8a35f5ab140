// Grok-1, of which transformers has no class. xAI published its weights for JAX; two folders with classes of their own for
// transformers were made of them, and both call an expert's matrices as xAI's code does: linear is the gate, linear_v goes
// up, linear_1 down.
// Sources: hpcai-tech/grok-1, modeling_grok1.py, whose names vLLM reads (model_executor/models/grok1.py);
// keyfan/grok-1-hf, modeling_grok.py, whose names llama.cpp's converter reads (conversion/grok.py).
#include <cmath>

#include "runtime/interchange/families/decoder.hpp"
#include "runtime/interchange/families/families.hpp"

namespace sy::runtime::hf {
namespace {

/// What the classes have in their code and not among their keys.
constexpr double kTheta = 10000.0;  ///< of hpcai-tech's
constexpr double kScoreCap = 30.0;  ///< of keyfan's

constexpr ExpertNames kExpertNames{.gate = "linear", .up = "linear_v", .down = "linear_1"};

/// Where the classes differ.
struct Names {
    const char* stack;
    const char* embedding;
    const char* layers;
    const char* attention;
    const char* query;
    const char* key;
    const char* value;
    const char* output;
    const char* router;
    const char* experts;
    const char* attention_norm;
    const char* attention_output_norm;
    const char* mixture_norm;
    const char* mixture_output_norm;
    const char* final_norm;
    const char* gain;
};

constexpr Names kHpcaiNames{.stack = "model.",
                            .embedding = "embed_tokens",
                            .layers = "layers.",
                            .attention = "attn.",
                            .query = "q_proj",
                            .key = "k_proj",
                            .value = "v_proj",
                            .output = "o_proj",
                            .router = "moe_block.gate",
                            .experts = "moe_block.experts.",
                            .attention_norm = "pre_attn_norm",
                            .attention_output_norm = "post_attn_norm",
                            .mixture_norm = "pre_moe_norm",
                            .mixture_output_norm = "post_moe_norm",
                            .final_norm = "norm",
                            .gain = ".scale"};
constexpr Names kKeyfanNames{.stack = "transformer.",
                             .embedding = "in_out_embed",
                             .layers = "decoder_layer.",
                             .attention = "multi_head_attention.",
                             .query = "query",
                             .key = "key",
                             .value = "value",
                             .output = "linear",
                             .router = "router",
                             .experts = "moe.",
                             .attention_norm = "rms_norm",
                             .attention_output_norm = "rms_norm_1",
                             .mixture_norm = "rms_norm_2",
                             .mixture_output_norm = "rms_norm_3",
                             .final_norm = "rms_norm",
                             .gain = ".weight"};

ForeignModel tensors(const Names& names, const Config& config, const TensorShapes& ours) {
    const RotaryOrder order = rotary_order(config.model, model::RopePairs::half_split);
    const std::string stack = names.stack;
    ModelBuilder builder(ours);
    builder.same(concat(stack, names.embedding, ".weight"), "embedding.weight");
    for (index_t layer = 0; layer < config.model.layers; ++layer) {
        const std::string name = layer_name(layer);
        const std::string block = concat(stack, names.layers, layer, ".");
        const std::string attention = block + names.attention;
        const auto add_gain = [&](const char* theirs, const std::string& own) {
            builder.same(concat(block, theirs, names.gain), name + own + ".gain");
        };
        add_gain(names.attention_norm, "attention_norm");
        add_linear(builder, attention + names.query, name + "attention.query", order);
        add_linear(builder, attention + names.key, name + "attention.key", order);
        add_linear(builder, attention + names.value, name + "attention.value");
        add_linear(builder, attention + names.output, name + "attention.output");
        add_gain(names.attention_output_norm, "attention_output_norm");
        add_gain(names.mixture_norm, "feed_forward_norm");
        builder.transposed(concat(block, names.router, ".weight"), name + "moe.router");
        add_experts(builder, block + names.experts, name + "moe.experts", ExpertLayout::separate,
                    kExpertNames);
        add_gain(names.mixture_output_norm, "feed_forward_output_norm");
    }
    builder.same(concat(stack, names.final_norm, names.gain), "final_norm.gain");
    if (!config.model.tied_head) builder.transposed("lm_head.weight", "head.weight");
    return builder.take();
}

Json::Object write(const Config& config) {
    const model::ModelConfig& model = config.model;
    const double usual = 1.0 / std::sqrt(static_cast<double>(model.head_width()));
    return {{"vocab_size", model.vocab_size},
            {"hidden_size", model.hidden},
            {"num_hidden_layers", model.layers},
            {"num_attention_heads", model.heads},
            {"num_key_value_heads", model.kv_heads},
            {"intermediate_size", config.moe.expert_width},
            {"max_position_embeddings", model.seq_len},
            {"rms_norm_eps", model.norm_eps},
            {"tie_word_embeddings", model.tied_head},
            {"attn_output_multiplier", model.attention.scale > 0.0 ? model.attention.scale : usual},
            {"embedding_multiplier_scale", model.embedding_scale},
            {"output_multiplier_scale", model.logit_scale},
            {"num_experts_per_tok", config.moe.top_k},
            {"router_aux_loss_coef", config.moe.balance.switch_loss}};
}

/// What decides results has to be there: folders were made with several versions of the classes' defaults.
void read(ConfigKeys& keys, Config& config) {
    set_mixture(config);
    model::ModelConfig& model = config.model;
    model.vocab_size = keys.whole("vocab_size");
    model.hidden = keys.whole("hidden_size");
    model.layers = keys.whole("num_hidden_layers");
    model.heads = keys.whole("num_attention_heads");
    model.kv_heads = keys.whole("num_key_value_heads");
    model.seq_len = keys.whole("max_position_embeddings");
    model.norm_eps = keys.number("rms_norm_eps");
    model.norm_placement = model::NormPlacement::both;
    model.tied_head = keys.flag("tie_word_embeddings", true);
    model.attention.scale = keys.number("attn_output_multiplier");
    model.embedding_scale = keys.number("embedding_multiplier_scale");
    model.logit_scale = keys.number("output_multiplier_scale");
    config.moe.expert_width = keys.whole("intermediate_size");
    config.moe.top_k = keys.whole("num_experts_per_tok");
    config.moe.renormalise = false;
    config.moe.balance.switch_loss = keys.number("router_aux_loss_coef", 0.001);
}

ForeignModel hpcai_tensors(const Config& config, const TensorShapes& ours, ExpertLayout) {
    return tensors(kHpcaiNames, config, ours);
}

Json::Object write_hpcai(const Config& config) {
    Json::Object keys = write(config);
    keys.push_back({"max_attn_value", config.model.attention.softcap});
    keys.push_back({"num_experts", config.moe.experts});
    return keys;
}

void read_hpcai(ConfigKeys& keys, Config& config) {
    read(keys, config);
    config.model.activation = model::Activation::geglu;
    config.model.attention.softcap = keys.number("max_attn_value");
    config.model.position.rope_theta = kTheta;
    config.moe.experts = keys.whole("num_experts");
    keys.only("rope_theta", kTheta);
}

std::vector<std::string> hpcai_problems(const Config& config) {
    if (config.model.attention.softcap > 0.0) return {};
    return {"attention.softcap = 0: the class divides by max_attn_value, and so always has a cap"};
}

ForeignModel keyfan_tensors(const Config& config, const TensorShapes& ours, ExpertLayout) {
    return tensors(kKeyfanNames, config, ours);
}

Json::Object write_keyfan(const Config& config) {
    Json::Object keys = write(config);
    keys.push_back({"hidden_act", activation_key(config.model.activation)});
    keys.push_back({"rope_theta", config.model.position.rope_theta});
    keys.push_back({"attention_dropout", config.model.attention.dropout});
    keys.push_back({"initializer_range", config.model.init_std});
    keys.push_back({"num_local_experts", config.moe.experts});
    return keys;
}

void read_keyfan(ConfigKeys& keys, Config& config) {
    read(keys, config);
    if (!keys.has("hidden_act")) keys.problem("hidden_act is missing");
    read_activation(keys, config, "hidden_act", "gelu", Gated::yes);
    config.model.attention.softcap = kScoreCap;
    config.model.position.rope_theta = keys.number("rope_theta");
    config.model.attention.dropout = keys.number("attention_dropout", 0.0);
    config.model.init_std = keys.number("initializer_range", 0.02);
    config.moe.experts = keys.whole("num_local_experts");
}

}  // namespace

const HfFamily kGrok1{.name = "grok-1",
                      .architecture = "Grok1ModelForCausalLM",
                      .write_config = write_hpcai,
                      .read_config = read_hpcai,
                      .tensors = hpcai_tensors,
                      .other_problems = hpcai_problems,
                      .published_by = "hpcai-tech/grok-1"};
const HfFamily kGrok{.name = "grok",
                     .architecture = "GrokForCausalLM",
                     .write_config = write_keyfan,
                     .read_config = read_keyfan,
                     .tensors = keyfan_tensors,
                     .published_by = "keyfan/grok-1-hf"};

}  // namespace sy::runtime::hf
