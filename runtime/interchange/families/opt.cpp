#include "runtime/interchange/families/decoder.hpp"
#include "runtime/interchange/families/families.hpp"

namespace sy::runtime::hf {
namespace {

constexpr const char* kStack = "model.decoder.";
/// Rows before those of the first position, which are for padding alone.
constexpr index_t kUnusedPositions = 2;
/// The default of torch's LayerNorm, which the class does not change.
constexpr double kNormEps = 1e-5;

void add_positions(ModelBuilder& builder) {
    const std::string ours = "position_embedding.weight";
    const Shape& shape = builder.shape(ours);
    ForeignTensor& table =
        builder.begin(concat(kStack, "embed_positions.weight"), {shape[0] + kUnusedPositions, shape[1]});
    table.parts.push_back(
        {.source = ForeignPart::Source::unused, .rows = {0, kUnusedPositions}, .cols = {0, shape[1]}});
    table.parts.push_back(whole_matrix(ours, shape, 0, Orientation::same));
    table.parts.back().foreign_row = kUnusedPositions;
}

ForeignModel tensors(const Config& config, const TensorShapes& ours, ExpertLayout) {
    ModelBuilder builder(ours);
    builder.same(concat(kStack, "embed_tokens.weight"), "embedding.weight");
    add_positions(builder);
    for (index_t layer = 0; layer < config.model.layers; ++layer) {
        const std::string theirs = kStack + layer_name(layer);
        const std::string name = layer_name(layer);
        add_norm(builder, theirs + "self_attn_layer_norm", name + "attention_norm");
        add_linear(builder, theirs + "self_attn.q_proj", name + "attention.query");
        add_linear(builder, theirs + "self_attn.k_proj", name + "attention.key");
        add_linear(builder, theirs + "self_attn.v_proj", name + "attention.value");
        add_linear(builder, theirs + "self_attn.out_proj", name + "attention.output");
        add_norm(builder, theirs + "final_layer_norm", name + "feed_forward_norm");
        add_linear(builder, theirs + "fc1", name + "feed_forward.up");
        add_linear(builder, theirs + "fc2", name + "feed_forward.down");
    }
    add_norm(builder, concat(kStack, "final_layer_norm"), "final_norm");
    if (!config.model.tied_head) builder.transposed("lm_head.weight", "head.weight");
    return builder.take();
}

Json::Object write(const Config& config) {
    const model::ModelConfig& model = config.model;
    return {{"vocab_size", model.vocab_size},
            {"hidden_size", model.hidden},
            {"word_embed_proj_dim", model.hidden},
            {"num_hidden_layers", model.layers},
            {"num_attention_heads", model.heads},
            {"ffn_dim", model.ffn_width},
            {"max_position_embeddings", model.seq_len},
            {"activation_function", activation_key(model.activation)},
            {"do_layer_norm_before", true},
            {"_remove_final_layer_norm", false},
            {"enable_bias", model.ffn_bias},
            {"layer_norm_elementwise_affine", true},
            {"tie_word_embeddings", model.tied_head},
            {"dropout", model.dropout},
            {"attention_dropout", model.attention.dropout},
            {"init_std", model.init_std}};
}

void read(ConfigKeys& keys, Config& config) {
    set_dense(config);
    model::ModelConfig& model = config.model;
    model.vocab_size = keys.whole("vocab_size");
    model.hidden = keys.whole("hidden_size");
    model.layers = keys.whole("num_hidden_layers");
    model.heads = model.kv_heads = keys.whole("num_attention_heads");
    model.ffn_width = keys.whole("ffn_dim");
    model.seq_len = keys.whole("max_position_embeddings");
    read_activation(keys, config, "activation_function", "relu", Gated::no);
    const bool biased = keys.flag("enable_bias", true);
    model.ffn_bias = biased;
    model.attention.bias = biased ? model::Biases::all : model::Biases::none;
    model.norm = model::NormKind::layer;
    model.norm_bias = true;
    model.norm_eps = kNormEps;
    model.tied_head = keys.flag("tie_word_embeddings", true);
    model.dropout = keys.number("dropout", 0.1);
    model.attention.dropout = keys.number("attention_dropout", 0.0);
    model.init_std = keys.number("init_std", 0.02);
    model.position.kind = model::PositionKind::learned;
    // OPT-350m has narrow embeddings and norms behind its sums.
    keys.only("word_embed_proj_dim", model.hidden);
    keys.only("do_layer_norm_before", true);
    keys.only("_remove_final_layer_norm", false);
    keys.only("layer_norm_elementwise_affine", true);
    keys.ignore({"layerdrop", "activation_dropout", "prefix"});
}

/// The class would compute it as well, but it is GPT-2's in all but names.
std::vector<std::string> other_problems(const Config& config) {
    if (config.model.activation != model::Activation::gelu_tanh) return {};
    return {"model.activation = gelu_tanh: such a model is GPT-2's, and OPT has relu"};
}

}  // namespace

const HfFamily kOpt{"opt", "OPTForCausalLM", write, read, tensors, other_problems};

}  // namespace sy::runtime::hf
