#include "runtime/interchange/families/decoder.hpp"
#include "runtime/interchange/families/families.hpp"

namespace sy::runtime::hf {
namespace {

ForeignModel tensors(const Config& config, const TensorShapes& ours, ExpertLayout) {
    const std::string embeddings = "bert.embeddings.";
    const std::string head = "cls.predictions.";
    ModelBuilder builder(ours);
    builder.same(embeddings + "word_embeddings.weight", "embedding.weight");
    builder.same(embeddings + "position_embeddings.weight", "position_embedding.weight");
    builder.same(embeddings + "token_type_embeddings.weight", "token_type.weight");
    add_norm(builder, embeddings + "LayerNorm", "embedding_norm");
    for (index_t layer = 0; layer < config.model.layers; ++layer) {
        const std::string theirs = concat("bert.encoder.layer.", layer, ".");
        const std::string name = layer_name(layer);
        add_linear(builder, theirs + "attention.self.query", name + "attention.query");
        add_linear(builder, theirs + "attention.self.key", name + "attention.key");
        add_linear(builder, theirs + "attention.self.value", name + "attention.value");
        add_linear(builder, theirs + "attention.output.dense", name + "attention.output");
        add_norm(builder, theirs + "attention.output.LayerNorm", name + "attention_norm");
        add_linear(builder, theirs + "intermediate.dense", name + "feed_forward.up");
        add_linear(builder, theirs + "output.dense", name + "feed_forward.down");
        add_norm(builder, theirs + "output.LayerNorm", name + "feed_forward_norm");
    }
    add_linear(builder, head + "transform.dense", "head.transform");
    add_norm(builder, head + "transform.LayerNorm", "head.transform_norm");
    builder.same(head + "bias", "head.bias");
    if (!config.model.tied_head) builder.transposed(head + "decoder.weight", "head.weight");
    return builder.take();
}

Json::Object write(const Config& config) {
    const model::ModelConfig& model = config.model;
    return {{"vocab_size", model.vocab_size},
            {"hidden_size", model.hidden},
            {"num_hidden_layers", model.layers},
            {"num_attention_heads", model.heads},
            {"intermediate_size", model.ffn_width},
            {"hidden_act", activation_key(model.activation)},
            {"max_position_embeddings", model.seq_len},
            {"type_vocab_size", model.token_types},
            {"layer_norm_eps", model.norm_eps},
            {"position_embedding_type", "absolute"},
            {"tie_word_embeddings", model.tied_head},
            {"hidden_dropout_prob", model.dropout},
            {"attention_probs_dropout_prob", model.attention.dropout},
            {"initializer_range", model.init_std},
            {"is_decoder", false}};
}

void read(ConfigKeys& keys, Config& config) {
    set_dense(config);
    model::ModelConfig& model = config.model;
    model.architecture = model::Architecture::encoder;
    model.vocab_size = keys.whole("vocab_size");
    model.hidden = keys.whole("hidden_size");
    model.layers = keys.whole("num_hidden_layers");
    model.heads = model.kv_heads = keys.whole("num_attention_heads");
    model.ffn_width = keys.whole("intermediate_size");
    read_activation(keys, config, "hidden_act", "gelu", Gated::no);
    model.ffn_bias = true;
    model.seq_len = keys.whole("max_position_embeddings", 512);
    model.token_types = keys.whole("type_vocab_size", 2);
    model.norm = model::NormKind::layer;
    model.norm_bias = true;
    model.norm_placement = model::NormPlacement::post;
    model.norm_eps = keys.number("layer_norm_eps", 1e-12);
    model.embedding_norm = true;
    model.tied_head = keys.flag("tie_word_embeddings", true);
    model.head_bias = true;
    model.head_transform = true;
    model.dropout = keys.number("hidden_dropout_prob", 0.1);
    model.attention.dropout = keys.number("attention_probs_dropout_prob", 0.1);
    model.attention.bias = model::Biases::all;
    model.init_std = keys.number("initializer_range", 0.02);
    model.position.kind = model::PositionKind::learned;
    keys.only("position_embedding_type", "absolute");
    keys.only("is_decoder", false);
    keys.only("add_cross_attention", false);
    keys.ignore({"classifier_dropout", "gradient_checkpointing"});
}

}  // namespace

const HfFamily kBert{"bert", "BertForMaskedLM", write, read, tensors};

}  // namespace sy::runtime::hf
