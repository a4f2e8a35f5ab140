#include <array>

#include "kernels/core/decimal.hpp"
#include "runtime/interchange/families/decoder.hpp"
#include "runtime/interchange/families/families.hpp"

/// GPT-2 and GPT-J: LayerNorm, biased feed-forwards, keys of their own.
namespace sy::runtime::hf {
namespace {

constexpr const char* kStack = "transformer.";
/// Says that the bias of GPT-J's head is zero and no parameter; not read by the class.
constexpr const char* kHeadBiasKey = "switchyard_head_bias";

Json::Object write_sizes(const Config& config) {
    const model::ModelConfig& model = config.model;
    return {
        {"vocab_size", model.vocab_size},
        {"n_embd", model.hidden},
        {"n_layer", model.layers},
        {"n_head", model.heads},
        {"n_positions", model.seq_len},
        {"n_inner", model.ffn_width},
        {"activation_function",
         model.activation == model::Activation::gelu_tanh ? "gelu_new" : activation_key(model.activation)},
        {"layer_norm_epsilon", model.norm_eps},
        {"tie_word_embeddings", model.tied_head},
        {"attn_pdrop", model.attention.dropout},
        {"embd_pdrop", model.dropout},
        {"resid_pdrop", model.dropout},
        {"initializer_range", model.init_std}};
}

void read_sizes(ConfigKeys& keys, Config& config, bool tied) {
    set_dense(config);
    model::ModelConfig& model = config.model;
    model.vocab_size = keys.whole("vocab_size");
    model.hidden = keys.whole("n_embd");
    model.layers = keys.whole("n_layer");
    model.heads = model.kv_heads = keys.whole("n_head");
    model.seq_len = keys.whole("n_positions");
    model.ffn_width = keys.whole("n_inner", 4 * model.hidden);
    read_activation(keys, config, "activation_function", "gelu_new", Gated::no);
    model.norm = model::NormKind::layer;
    model.norm_bias = true;
    model.ffn_bias = true;
    model.norm_eps = keys.number("layer_norm_epsilon", 1e-5);
    model.tied_head = keys.flag("tie_word_embeddings", tied);
    model.attention.dropout = keys.number("attn_pdrop", 0.1);
    model.dropout = keys.number("resid_pdrop", 0.1);
    model.init_std = keys.number("initializer_range", 0.02);
    keys.only("scale_attn_weights", true);
    keys.ignore({"embd_pdrop", "n_ctx", "gradient_checkpointing", "summary_activation",
                 "summary_first_dropout", "summary_proj_to_labels", "summary_type", "summary_use_proj",
                 "task_specific_params"});
}

/// A Conv1D: [in, out], as ours.
void add_conv(ModelBuilder& builder, const std::string& theirs, const std::string& ours) {
    builder.same(theirs + ".weight", ours);
    builder.same(theirs + ".bias", ours + "_bias");
}

/// Queries, keys and values side by side.
void add_fused_attention(ModelBuilder& builder, const std::string& theirs, const std::string& ours) {
    constexpr std::array kParts{"query", "key", "value"};
    const index_t hidden = builder.shape(ours + "query")[0];
    ForeignTensor& weight = builder.begin(theirs + ".weight", {hidden, 3 * hidden});
    for (std::size_t i = 0; i < kParts.size(); ++i) {
        const std::string name = ours + kParts[i];
        weight.parts.push_back(whole_matrix(name, builder.shape(name), 0, Orientation::same));
        weight.parts.back().foreign_col = static_cast<index_t>(i) * hidden;
    }
    ForeignTensor& bias = builder.begin(theirs + ".bias", {3 * hidden});
    for (std::size_t i = 0; i < kParts.size(); ++i) {
        const std::string name = concat(ours, kParts[i], "_bias");
        bias.parts.push_back(whole_matrix(name, builder.shape(name), 0, Orientation::same));
        bias.parts.back().foreign_col = static_cast<index_t>(i) * hidden;
    }
}

Json::Object write_gpt2(const Config& config) {
    Json::Object keys = write_sizes(config);
    keys.push_back({"scale_attn_by_inverse_layer_idx", false});
    keys.push_back({"reorder_and_upcast_attn", false});
    return keys;
}

void read_gpt2(ConfigKeys& keys, Config& config) {
    read_sizes(keys, config, true);
    config.model.attention.bias = model::Biases::all;
    config.model.position.kind = model::PositionKind::learned;
    keys.only("scale_attn_by_inverse_layer_idx", false);
    keys.only("reorder_and_upcast_attn", false);
    keys.only("add_cross_attention", false);
}

ForeignModel gpt2_tensors(const Config& config, const TensorShapes& ours, ExpertLayout) {
    ModelBuilder builder(ours);
    builder.same(concat(kStack, "wte.weight"), "embedding.weight");
    builder.same(concat(kStack, "wpe.weight"), "position_embedding.weight");
    for (index_t layer = 0; layer < config.model.layers; ++layer) {
        const std::string theirs = concat(kStack, "h.", layer, ".");
        const std::string name = layer_name(layer);
        add_norm(builder, theirs + "ln_1", name + "attention_norm");
        add_fused_attention(builder, theirs + "attn.c_attn", name + "attention.");
        add_conv(builder, theirs + "attn.c_proj", name + "attention.output");
        add_norm(builder, theirs + "ln_2", name + "feed_forward_norm");
        add_conv(builder, theirs + "mlp.c_fc", name + "feed_forward.up");
        add_conv(builder, theirs + "mlp.c_proj", name + "feed_forward.down");
    }
    add_norm(builder, concat(kStack, "ln_f"), "final_norm");
    if (!config.model.tied_head) builder.transposed("lm_head.weight", "head.weight");
    return builder.take();
}

Json::Object write_gptj(const Config& config) {
    Json::Object keys = write_sizes(config);
    if (!config.model.head_bias) keys.push_back({kHeadBiasKey, false});
    keys.push_back(
        {"rotary_dim", 2 * decimal_floor(config.model.position.rope_fraction, config.model.head_dim, 2)});
    return keys;
}

void read_gptj(ConfigKeys& keys, Config& config) {
    read_sizes(keys, config, false);
    model::ModelConfig& model = config.model;
    model.wiring = model::Wiring::parallel;
    model.head_bias = keys.flag(kHeadBiasKey, true);
    model.position.rope_pairs = model::RopePairs::interleaved;
    const index_t rotary = keys.whole("rotary_dim", 64);
    model.position.rope_fraction =
        static_cast<double>(rotary) / static_cast<double>(model.hidden / std::max<index_t>(model.heads, 1));
}

ForeignModel gptj_tensors(const Config& config, const TensorShapes& ours, ExpertLayout) {
    const RotaryOrder order = rotary_order(config.model, model::RopePairs::interleaved);
    ModelBuilder builder(ours);
    builder.same(concat(kStack, "wte.weight"), "embedding.weight");
    for (index_t layer = 0; layer < config.model.layers; ++layer) {
        const std::string theirs = concat(kStack, "h.", layer, ".");
        const std::string name = layer_name(layer);
        add_norm(builder, theirs + "ln_1", name + "attention_norm");
        add_linear(builder, theirs + "attn.q_proj", name + "attention.query", order);
        add_linear(builder, theirs + "attn.k_proj", name + "attention.key", order);
        add_linear(builder, theirs + "attn.v_proj", name + "attention.value");
        add_linear(builder, theirs + "attn.out_proj", name + "attention.output");
        add_linear(builder, theirs + "mlp.fc_in", name + "feed_forward.up");
        add_linear(builder, theirs + "mlp.fc_out", name + "feed_forward.down");
    }
    add_norm(builder, concat(kStack, "ln_f"), "final_norm");
    if (!config.model.tied_head) builder.transposed("lm_head.weight", "head.weight");
    if (config.model.head_bias) {
        builder.same("lm_head.bias", "head.bias");
    } else {
        builder.constant("lm_head.bias", {config.model.vocab_size}, 0.0F);
    }
    return builder.take();
}

}  // namespace

const HfFamily kGpt2{"gpt2", "GPT2LMHeadModel", write_gpt2, read_gpt2, gpt2_tensors};
const HfFamily kGptJ{"gptj", "GPTJForCausalLM", write_gptj, read_gptj, gptj_tensors};

}  // namespace sy::runtime::hf
