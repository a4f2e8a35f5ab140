#include "runtime/interchange/families/decoder.hpp"

#include <algorithm>
#include <array>

#include "kernels/core/decimal.hpp"
#include "runtime/checkpoint/manifest.hpp"
#include "runtime/interchange/hf_settings.hpp"

namespace sy::runtime::hf {
namespace {

using model::Activation;

struct ActivationName {
    const char* name;
    Activation plain;
    Activation gated;
};
constexpr std::array kActivationNames{
    ActivationName{"relu", Activation::relu, Activation::reglu},
    ActivationName{"gelu", Activation::gelu, Activation::geglu},
    ActivationName{"gelu_pytorch_tanh", Activation::gelu_tanh, Activation::geglu_tanh},
    ActivationName{"gelu_new", Activation::gelu_tanh, Activation::geglu_tanh},
    ActivationName{"silu", Activation::silu, Activation::swiglu},
    ActivationName{"relu2", Activation::squared_relu, Activation::squared_relu},
};

/// Our [in, out] matrix of an expert in rows or columns of a fused tensor.
void add_fused_part(ForeignTensor& tensor, const std::string& ours, const Shape& shape, index_t expert,
                    ExpertLayout layout, index_t first, index_t foreign_rows) {
    const bool in_out = layout == ExpertLayout::fused_in_out;
    ForeignPart part =
        whole_matrix(ours, shape, expert, in_out ? Orientation::same : Orientation::transposed);
    part.foreign_row = expert * foreign_rows + (in_out ? 0 : first);
    part.foreign_col = in_out ? first : 0;
    tensor.parts.push_back(std::move(part));
}

}  // namespace

std::string activation_key(Activation activation) {
    const auto found = std::ranges::find_if(kActivationNames, [&](const ActivationName& entry) {
        return entry.plain == activation || entry.gated == activation;
    });
    SY_REQUIRE(found != kActivationNames.end(), "no name for activation ", ops::activation_name(activation));
    return found->name;
}

void read_activation(ConfigKeys& keys, Config& config, const char* key, const char* otherwise, Gated gated) {
    const std::string name = keys.text(key, otherwise);
    const auto found = std::ranges::find_if(kActivationNames,
                                            [&](const ActivationName& entry) { return name == entry.name; });
    if (found == kActivationNames.end()) {
        keys.problem(concat(key, " = ", name, " cannot be expressed here"));
        return;
    }
    config.model.activation = gated == Gated::yes ? found->gated : found->plain;
}

void set_dense(Config& config) {
    config.moe.layers = "none";
}

void set_mixture(Config& config) {
    config.moe.layers = "all";
    config.moe.balance.switch_loss = 0.0;
    config.moe.balance.z_loss = 0.0;
}

void write_sparse_layers(const Config& config, Json::Object& keys) {
    const std::vector<bool> is_moe = model::moe_layers(config.moe, config.model.layers);
    Json::Array dense;
    for (std::size_t layer = 0; layer < is_moe.size(); ++layer)
        if (!is_moe[layer]) dense.emplace_back(static_cast<index_t>(layer));
    keys.push_back({"decoder_sparse_step", 1});
    keys.push_back({"mlp_only_layers", std::move(dense)});
}

void read_sparse_layers(ConfigKeys& keys, Config& config) {
    const index_t step = keys.whole("decoder_sparse_step", 1);
    const std::vector<index_t> dense = keys.list("mlp_only_layers");
    if (step < 1) {
        keys.problem(concat("decoder_sparse_step = ", step, ", expected at least 1"));
        return;
    }
    std::vector<bool> is_moe;
    for (index_t layer = 0; layer < config.model.layers; ++layer)
        is_moe.push_back((layer + 1) % step == 0 && std::ranges::find(dense, layer) == dense.end());
    config.moe.layers = short_pattern(is_moe);
}

Json::Object decoder_config(const Config& config) {
    const model::ModelConfig& model = config.model;
    Json::Object keys{{"vocab_size", model.vocab_size},
                      {"hidden_size", model.hidden},
                      {"num_hidden_layers", model.layers},
                      {"num_attention_heads", model.heads},
                      {"num_key_value_heads", model.kv_heads},
                      {"intermediate_size", model.ffn_width},
                      {"hidden_act", activation_key(model.activation)},
                      {"max_position_embeddings", model.seq_len},
                      {"rms_norm_eps", model.norm_eps},
                      {"tie_word_embeddings", model.tied_head},
                      {"attention_dropout", model.attention.dropout},
                      {"initializer_range", model.init_std}};
    write_rope(config, keys);
    return keys;
}

void read_decoder(ConfigKeys& keys, Config& config, double theta) {
    model::ModelConfig& model = config.model;
    model.vocab_size = keys.whole("vocab_size");
    model.hidden = keys.whole("hidden_size");
    model.layers = keys.whole("num_hidden_layers");
    model.heads = keys.whole("num_attention_heads");
    model.kv_heads = keys.whole("num_key_value_heads", model.heads);
    model.ffn_width = keys.whole("intermediate_size", model.ffn_width);
    read_activation(keys, config, "hidden_act", "silu", Gated::yes);
    model.seq_len = keys.whole("max_position_embeddings", 2048);
    model.norm_eps = keys.number("rms_norm_eps", 1e-6);
    model.tied_head = keys.flag("tie_word_embeddings", false);
    model.attention.dropout = keys.number("attention_dropout", 0.0);
    model.init_std = keys.number("initializer_range", 0.02);
    read_rope(keys, config, theta);
}

std::string layer_name(index_t layer) {
    return concat("layers.", layer, ".");
}

RotaryOrder rotary_order(const model::ModelConfig& model, model::RopePairs theirs) {
    using Change = RotaryOrder::Change;
    RotaryOrder order;
    if (model.position.kind != model::PositionKind::rope || model.position.rope_pairs == theirs) return order;
    order.change = theirs == model::RopePairs::half_split ? Change::pairs_to_halves : Change::halves_to_pairs;
    order.head_dim = model.head_width();
    order.width = 2 * decimal_floor(model.position.rope_fraction, model.head_width(), 2);
    return order;
}

void add_linear(ModelBuilder& builder, const std::string& theirs, const std::string& ours,
                const RotaryOrder& order) {
    builder.transposed(theirs + ".weight", ours).order = order;
    if (builder.has(ours + "_bias")) builder.same(theirs + ".bias", ours + "_bias").order = order;
}

void add_norm(ModelBuilder& builder, const std::string& theirs, const std::string& ours) {
    builder.same(theirs + ".weight", ours + ".gain");
    if (builder.has(ours + ".bias")) builder.same(theirs + ".bias", ours + ".bias");
}

void add_outer(ModelBuilder& builder) {
    builder.same("model.embed_tokens.weight", "embedding.weight");
    add_norm(builder, "model.norm", "final_norm");
    if (builder.has("head.weight")) builder.transposed("lm_head.weight", "head.weight");
}

void add_layer_norms(ModelBuilder& builder, const std::string& theirs, const std::string& ours) {
    add_norm(builder, theirs + "input_layernorm", ours + "attention_norm");
    add_norm(builder, theirs + "post_attention_layernorm", ours + "feed_forward_norm");
}

void add_attention(ModelBuilder& builder, const Config& config, index_t layer) {
    add_attention(builder, config, "model." + layer_name(layer), layer_name(layer));
}

void add_attention(ModelBuilder& builder, const Config& config, const std::string& theirs,
                   const std::string& ours) {
    const RotaryOrder order = rotary_order(config.model, model::RopePairs::half_split);
    add_layer_norms(builder, theirs, ours);
    add_linear(builder, theirs + "self_attn.q_proj", ours + "attention.query", order);
    add_linear(builder, theirs + "self_attn.k_proj", ours + "attention.key", order);
    add_linear(builder, theirs + "self_attn.v_proj", ours + "attention.value");
    add_linear(builder, theirs + "self_attn.o_proj", ours + "attention.output");
    if (config.model.attention.qk_norm == model::QkNorm::none) return;
    builder.same(theirs + "self_attn.q_norm.weight", ours + "attention.query_norm.gain").order = order;
    builder.same(theirs + "self_attn.k_norm.weight", ours + "attention.key_norm.gain").order = order;
}

void add_gated(ModelBuilder& builder, const std::string& theirs, const std::string& ours) {
    add_linear(builder, theirs + ".gate_proj", ours + ".gate");
    add_linear(builder, theirs + ".up_proj", ours + ".up");
    add_linear(builder, theirs + ".down_proj", ours + ".down");
}

void add_experts(ModelBuilder& builder, const std::string& theirs, const std::string& ours,
                 ExpertLayout layout, const ExpertNames& names) {
    const Shape& shape = builder.shape(ours + ".up");
    const MatrixShape up = matrix_shape(shape);
    if (layout == ExpertLayout::separate) {
        for (index_t expert = 0; expert < up.matrices; ++expert) {
            const std::string prefix = concat(theirs, expert, ".");
            builder.transposed(concat(prefix, names.gate, ".weight"), ours + ".gate", expert);
            builder.transposed(concat(prefix, names.up, ".weight"), ours + ".up", expert);
            builder.transposed(concat(prefix, names.down, ".weight"), ours + ".down", expert);
        }
        return;
    }
    const bool in_out = layout == ExpertLayout::fused_in_out;
    const index_t in = up.rows;
    const index_t width = up.cols;
    ForeignTensor& both = builder.begin(theirs + "gate_up_proj", in_out ? Shape{up.matrices, in, 2 * width}
                                                                        : Shape{up.matrices, 2 * width, in});
    for (index_t expert = 0; expert < up.matrices; ++expert) {
        const index_t rows = in_out ? in : 2 * width;
        add_fused_part(both, ours + ".gate", shape, expert, layout, 0, rows);
        add_fused_part(both, ours + ".up", shape, expert, layout, width, rows);
    }
    ForeignTensor& down = builder.begin(
        theirs + "down_proj", in_out ? Shape{up.matrices, width, in} : Shape{up.matrices, in, width});
    for (index_t expert = 0; expert < up.matrices; ++expert)
        add_fused_part(down, ours + ".down", builder.shape(ours + ".down"), expert, layout, 0,
                       in_out ? width : in);
}

}  // namespace sy::runtime::hf
