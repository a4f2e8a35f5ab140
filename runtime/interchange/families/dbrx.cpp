#include <array>

#include "runtime/interchange/families/decoder.hpp"
#include "runtime/interchange/families/families.hpp"

namespace sy::runtime::hf {
namespace {

/// The default of torch's LayerNorm, which the class does not change.
constexpr double kNormEps = 1e-5;
/// The class needs a limit; beyond this one there is nothing.
constexpr double kNoClip = 1e30;

/// Queries, keys and values below each other.
void add_fused_attention(ModelBuilder& builder, const Config& config, const std::string& theirs,
                         const std::string& ours) {
    const RotaryOrder order = rotary_order(config.model, model::RopePairs::half_split);
    index_t rows = 0;
    std::vector<ForeignPart> parts;
    for (const char* const role : {"query", "key", "value"}) {
        const std::string name = ours + role;
        const Shape& shape = builder.shape(name);
        ForeignPart& part = parts.emplace_back(whole_matrix(name, shape, 0, Orientation::transposed));
        part.foreign_row = rows;
        if (name != ours + "value") part.order = order;
        rows += shape[1];
    }
    builder.begin(theirs, {rows, config.model.hidden}).parts = std::move(parts);
}

/// The experts below each other: gate and up [E f, H] as products read them, down [E f, H] as ours.
void add_stacked_experts(ModelBuilder& builder, const std::string& theirs, const std::string& ours) {
    struct Matrix {
        const char* theirs;
        const char* ours;
        Orientation orientation;
    };
    constexpr std::array kMatrices{Matrix{"w1", ".gate", Orientation::transposed},
                                   Matrix{"v1", ".up", Orientation::transposed},
                                   Matrix{"w2", ".down", Orientation::same}};
    for (const Matrix& matrix : kMatrices) {
        const Shape& shape = builder.shape(ours + matrix.ours);
        const bool turned = matrix.orientation == Orientation::transposed;
        const index_t width = turned ? shape[2] : shape[1];
        const index_t hidden = turned ? shape[1] : shape[2];
        ForeignTensor& tensor = builder.begin(theirs + matrix.theirs, {shape[0] * width, hidden});
        for (index_t expert = 0; expert < shape[0]; ++expert) {
            tensor.parts.push_back(whole_matrix(ours + matrix.ours, shape, expert, matrix.orientation));
            tensor.parts.back().foreign_row = expert * width;
        }
    }
}

ForeignModel tensors(const Config& config, const TensorShapes& ours, ExpertLayout) {
    ModelBuilder builder(ours);
    builder.same("transformer.wte.weight", "embedding.weight");
    for (index_t layer = 0; layer < config.model.layers; ++layer) {
        const std::string name = layer_name(layer);
        const std::string block = concat("transformer.blocks.", layer, ".");
        const std::string attention = block + "norm_attn_norm.";
        add_norm(builder, attention + "norm_1", name + "attention_norm");
        add_fused_attention(builder, config, attention + "attn.Wqkv.weight", name + "attention.");
        add_linear(builder, attention + "attn.out_proj", name + "attention.output");
        add_norm(builder, attention + "norm_2", name + "feed_forward_norm");
        add_linear(builder, block + "ffn.router.layer", name + "moe.router");
        add_stacked_experts(builder, block + "ffn.experts.mlp.", name + "moe.experts");
    }
    add_norm(builder, "transformer.norm_f", "final_norm");
    builder.transposed("lm_head.weight", "head.weight");
    return builder.take();
}

Json::Object write(const Config& config) {
    const model::ModelConfig& model = config.model;
    const model::MoeConfig& moe = config.moe;
    const double clip = model.attention.clip_qkv;
    Json::Object keys{{"vocab_size", model.vocab_size}, {"d_model", model.hidden},
                      {"n_layers", model.layers},       {"n_heads", model.heads},
                      {"max_seq_len", model.seq_len},   {"resid_pdrop", model.dropout},
                      {"emb_pdrop", model.dropout},     {"initializer_range", model.init_std},
                      {"tie_word_embeddings", false}};
    keys.push_back({"attn_config", Json::Object{{"kv_n_heads", model.kv_heads},
                                                {"clip_qkv", clip > 0.0 ? clip : kNoClip},
                                                {"attn_pdrop", model.attention.dropout},
                                                {"rope_theta", model.position.rope_theta}}});
    keys.push_back(
        {"ffn_config", Json::Object{{"ffn_act_fn", Json::Object{{"name", activation_key(model.activation)}}},
                                    {"ffn_hidden_size", moe.expert_width},
                                    {"moe_num_experts", moe.experts},
                                    {"moe_top_k", moe.top_k},
                                    {"moe_jitter_eps", moe.jitter > 0.0 ? Json(moe.jitter) : Json()},
                                    {"moe_loss_weight", moe.balance.switch_loss},
                                    {"moe_normalize_expert_weights", moe.renormalise ? Json(1.0) : Json()}}});
    write_rope(config, keys);
    return keys;
}

void read_attention(ConfigKeys& keys, Config& config) {
    model::ModelConfig& model = config.model;
    model.kv_heads = keys.whole("kv_n_heads", 1);
    const double clip = keys.number("clip_qkv", kNoClip);
    model.attention.clip_qkv = clip < kNoClip ? clip : 0.0;
    model.attention.dropout = keys.number("attn_pdrop", 0.0);
    model.position.rope_theta = keys.number("rope_theta", model.position.rope_theta);
    keys.ignore_usual();
    keys.finish();
}

void read_mixture(ConfigKeys& keys, Config& config) {
    model::MoeConfig& moe = config.moe;
    if (const Json* const activation = keys.object("ffn_act_fn")) {
        ConfigKeys inside = keys.inside(*activation);
        read_activation(inside, config, "name", "silu", Gated::yes);
        inside.finish();
    }
    moe.expert_width = keys.whole("ffn_hidden_size", 3584);
    moe.experts = keys.whole("moe_num_experts", 4);
    moe.top_k = keys.whole("moe_top_k", 1);
    moe.jitter = keys.number("moe_jitter_eps", 0.0);
    moe.balance.switch_loss = keys.number("moe_loss_weight", 0.01);
    moe.renormalise = keys.has("moe_normalize_expert_weights");
    keys.only("moe_normalize_expert_weights", 1.0);
    keys.only("uniform_expert_assignment", false);
    keys.ignore({"hidden_size"});
    keys.ignore_usual();
    keys.finish();
}

void read(ConfigKeys& keys, Config& config) {
    set_mixture(config);
    model::ModelConfig& model = config.model;
    model.vocab_size = keys.whole("vocab_size");
    model.hidden = keys.whole("d_model");
    model.layers = keys.whole("n_layers");
    model.heads = keys.whole("n_heads");
    model.kv_heads = 1;
    model.seq_len = keys.whole("max_seq_len", 2048);
    model.dropout = keys.number("resid_pdrop", 0.0);
    model.init_std = keys.number("initializer_range", 0.02);
    model.norm = model::NormKind::layer;
    model.norm_eps = kNormEps;
    config.moe.renormalise = true;
    double theta = model.position.rope_theta;
    if (const Json* const attention = keys.object("attn_config")) {
        ConfigKeys inside = keys.inside(*attention);
        read_attention(inside, config);
        theta = model.position.rope_theta;
    }
    if (const Json* const mixture = keys.object("ffn_config")) {
        ConfigKeys inside = keys.inside(*mixture);
        read_mixture(inside, config);
    }
    read_rope(keys, config, theta);
    keys.only("tie_word_embeddings", false);
    keys.ignore({"emb_pdrop", "num_key_value_heads"});
}

}  // namespace

const HfFamily kDbrx{"dbrx", "DbrxForCausalLM", write, read, tensors};

}  // namespace sy::runtime::hf
