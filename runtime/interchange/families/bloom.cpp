#include <array>

#include "runtime/interchange/families/decoder.hpp"
#include "runtime/interchange/families/families.hpp"

namespace sy::runtime::hf {
namespace {

constexpr std::array kParts{"query", "key", "value"};

/// Query, key and value of a head one after another, head after head.
void add_fused(ModelBuilder& builder, const Config& config, const std::string& theirs,
               const std::string& ours, const std::string& suffix, const Shape& shape,
               Orientation orientation) {
    const index_t width = config.model.head_width();
    ForeignTensor& tensor = builder.begin(theirs, shape);
    for (std::size_t i = 0; i < kParts.size(); ++i) {
        const std::string name = ours + kParts[i] + suffix;
        for (index_t head = 0; head < config.model.heads; ++head) {
            ForeignPart part = whole_matrix(name, builder.shape(name), 0, orientation);
            part.cols = {head * width, (head + 1) * width};
            const index_t place = (head * std::ssize(kParts) + static_cast<index_t>(i)) * width;
            if (orientation == Orientation::transposed) {
                part.foreign_row = place;
            } else {
                part.foreign_col = place;
            }
            tensor.parts.push_back(std::move(part));
        }
    }
}

ForeignModel tensors(const Config& config, const TensorShapes& ours, ExpertLayout) {
    const index_t hidden = config.model.hidden;
    const std::string stack = "transformer.";
    ModelBuilder builder(ours);
    builder.same(stack + "word_embeddings.weight", "embedding.weight");
    add_norm(builder, stack + "word_embeddings_layernorm", "embedding_norm");
    for (index_t layer = 0; layer < config.model.layers; ++layer) {
        const std::string theirs = concat(stack, "h.", layer, ".");
        const std::string fused = theirs + "self_attention.query_key_value";
        const std::string name = layer_name(layer);
        add_norm(builder, theirs + "input_layernorm", name + "attention_norm");
        add_fused(builder, config, fused + ".weight", name + "attention.", "", {3 * hidden, hidden},
                  Orientation::transposed);
        add_fused(builder, config, fused + ".bias", name + "attention.", "_bias", {3 * hidden},
                  Orientation::same);
        add_linear(builder, theirs + "self_attention.dense", name + "attention.output");
        add_norm(builder, theirs + "post_attention_layernorm", name + "feed_forward_norm");
        add_linear(builder, theirs + "mlp.dense_h_to_4h", name + "feed_forward.up");
        add_linear(builder, theirs + "mlp.dense_4h_to_h", name + "feed_forward.down");
    }
    add_norm(builder, stack + "ln_f", "final_norm");
    if (!config.model.tied_head) builder.transposed("lm_head.weight", "head.weight");
    return builder.take();
}

Json::Object write(const Config& config) {
    const model::ModelConfig& model = config.model;
    return {{"vocab_size", model.vocab_size},
            {"hidden_size", model.hidden},
            {"n_layer", model.layers},
            {"n_head", model.heads},
            {"seq_length", model.seq_len},
            {"layer_norm_epsilon", model.norm_eps},
            {"tie_word_embeddings", model.tied_head},
            {"attention_dropout", model.attention.dropout},
            {"hidden_dropout", model.dropout},
            {"initializer_range", model.init_std},
            {"apply_residual_connection_post_layernorm", false}};
}

void read(ConfigKeys& keys, Config& config) {
    set_dense(config);
    model::ModelConfig& model = config.model;
    model.vocab_size = keys.whole("vocab_size");
    model.hidden = keys.whole(keys.has("n_embed") ? "n_embed" : "hidden_size");
    model.layers = keys.whole("n_layer");
    model.heads = model.kv_heads =
        keys.whole(keys.has("num_attention_heads") ? "num_attention_heads" : "n_head");
    model.ffn_width = 4 * model.hidden;
    model.seq_len = keys.whole("seq_length", 2048);
    model.activation = model::Activation::gelu_tanh;
    model.ffn_bias = true;
    model.norm = model::NormKind::layer;
    model.norm_bias = true;
    model.norm_eps = keys.number("layer_norm_epsilon", 1e-5);
    model.embedding_norm = true;
    model.tied_head = keys.flag("tie_word_embeddings", true);
    model.attention.bias = model::Biases::all;
    model.attention.dropout = keys.number("attention_dropout", 0.0);
    model.dropout = keys.number("hidden_dropout", 0.0);
    model.init_std = keys.number("initializer_range", 0.02);
    model.position.kind = model::PositionKind::alibi;
    keys.only("apply_residual_connection_post_layernorm", false);
    keys.ignore({"slow_but_exact", "attention_softmax_in_fp32", "masked_softmax_fusion",
                 "bias_dropout_fusion", "skip_bias_add", "skip_bias_add_qkv", "offset_alibi",
                 "unk_token_id"});
}

}  // namespace

const HfFamily kBloom{"bloom", "BloomForCausalLM", write, read, tensors};

}  // namespace sy::runtime::hf
