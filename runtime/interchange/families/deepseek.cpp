#include "runtime/interchange/families/deepseek.hpp"

#include <algorithm>

#include "runtime/checkpoint/manifest.hpp"
#include "runtime/interchange/families/families.hpp"

namespace sy::runtime::hf {
namespace {

using model::RopePairs;

/// The epsilon of the norms of compressed queries and keys, whatever rms_norm_eps is.
constexpr double kLatentNormEps = 1e-6;
/// What DeepSeek-V3 moves its selection bias by in a step, for models that come without a number.
constexpr double kBiasRate = 1e-3;

ForeignPart repeated(const ModelBuilder& builder, const std::string& ours, Orientation orientation) {
    ForeignPart part = whole_matrix(ours, builder.shape(ours), 0, orientation);
    part.source = ForeignPart::Source::repeated;
    return part;
}

/// Embedding, last norm and head stand with every module again.
void add_shared_outer(ModelBuilder& builder, const Config& config, const std::string& theirs) {
    const Shape table{config.model.vocab_size, config.model.hidden};
    const bool tied = config.model.tied_head;
    const ForeignPart embedding = repeated(builder, "embedding.weight", Orientation::same);
    builder.begin(theirs + "embed_tokens.weight", table).parts = {embedding};
    builder.begin(theirs + "shared_head.norm.weight", {config.model.hidden}).parts = {
        repeated(builder, "final_norm.gain", Orientation::same)};
    builder.begin(theirs + "shared_head.head.weight", table).parts = {
        tied ? embedding : repeated(builder, "head.weight", Orientation::transposed)};
}

/// The class joins the next token's embedding with the state, we the state with the embedding.
void add_joining_projection(ModelBuilder& builder, const std::string& theirs, const std::string& ours) {
    const MatrixShape size = matrix_shape(builder.shape(ours));
    const index_t hidden = size.cols;
    ForeignTensor& tensor = builder.begin(theirs, {hidden, 2 * hidden});
    for (const index_t first : {index_t{0}, hidden}) {
        ForeignPart part = whole_matrix(ours, builder.shape(ours), 0, Orientation::transposed);
        part.rows = {first, first + hidden};
        part.foreign_col = hidden - first;
        tensor.parts.push_back(std::move(part));
    }
}

RotaryOrder latent_order(const Config& config, RopePairs pairs, index_t plain_cols) {
    RotaryOrder order;
    if (config.model.position.rope_pairs == pairs) return order;
    order.change = pairs == RopePairs::interleaved ? RotaryOrder::Change::halves_to_pairs
                                                   : RotaryOrder::Change::pairs_to_halves;
    order.head_dim = plain_cols + config.model.attention.rope_dim;
    order.first = plain_cols;
    order.width = config.model.attention.rope_dim;
    return order;
}

ForeignModel latent_tensors(const Config& config, const TensorShapes& ours, ExpertLayout layout,
                            SelectionBias bias) {
    const std::string head = "model.";
    ModelBuilder builder(ours);
    add_outer(builder);
    const auto add_block = [&](const std::string& theirs, const std::string& name) {
        add_layer_norms(builder, theirs, name);
        add_latent_attention(builder, config, theirs + "self_attn.", name + "attention.",
                             RopePairs::interleaved);
        add_feed_forward(builder, config, theirs + "mlp", name, layout, bias);
    };
    for (index_t layer = 0; layer < config.model.layers; ++layer)
        add_block(head + layer_name(layer), layer_name(layer));
    add_prediction_modules(builder, config, add_block);
    return builder.take();
}

ForeignModel v3_tensors(const Config& config, const TensorShapes& ours, ExpertLayout layout) {
    return latent_tensors(config, ours, layout, SelectionBias::tensor);
}

ForeignModel v2_tensors(const Config& config, const TensorShapes& ours, ExpertLayout layout) {
    return latent_tensors(config, ours, layout, SelectionBias::none);
}

Json::Object write_v3(const Config& config) {
    Json::Object keys = decoder_config(config);
    write_latent(config, keys);
    write_experts(config, keys);
    write_biased_routing(config, keys);
    keys.push_back({"rope_interleave", true});
    return keys;
}

void read_v3(ConfigKeys& keys, Config& config) {
    set_mixture(config);
    config.model.attention.kind = model::AttentionKind::latent;
    read_decoder(keys, config);
    read_latent(keys, config);
    read_experts(keys, config, 3);
    read_biased_routing(keys, config);
    keys.only("rope_interleave", true);
    config.model.position.rope_pairs = RopePairs::interleaved;
}

std::vector<std::string> v3_problems(const Config& config) {
    std::vector<std::string> problems = latent_problems(config);
    for (std::string& problem : biased_routing_problems(config)) problems.push_back(std::move(problem));
    return problems;
}

Json::Object write_v2(const Config& config) {
    Json::Object keys = decoder_config(config);
    write_latent(config, keys);
    write_experts(config, keys);
    const bool limited = config.moe.router == "group_limited";
    keys.push_back({"scoring_func", "softmax"});
    keys.push_back({"topk_method", limited ? "group_limited_greedy" : "greedy"});
    keys.push_back({"n_group", limited ? config.moe.groups : 1});
    keys.push_back({"topk_group", limited ? config.moe.group_limit : 1});
    keys.push_back({"norm_topk_prob", false});
    return keys;
}

void read_v2(ConfigKeys& keys, Config& config) {
    set_mixture(config);
    config.model.attention.kind = model::AttentionKind::latent;
    read_decoder(keys, config);
    read_latent(keys, config);
    read_experts(keys, config, 0);
    keys.only("scoring_func", "softmax");
    keys.only("norm_topk_prob", false);
    keys.only("mlp_bias", false);
    config.moe.renormalise = false;
    const std::string method = keys.text("topk_method", "greedy");
    const index_t groups = keys.whole("n_group", 1);
    const index_t limit = keys.whole("topk_group", 1);
    config.model.position.rope_pairs = RopePairs::interleaved;
    if (method == "greedy") return;
    if (method != "group_limited_greedy")
        keys.problem(concat("topk_method = ", method, " cannot be expressed here"));
    config.moe.router = "group_limited";
    config.moe.groups = groups;
    config.moe.group_limit = limit;
}

}  // namespace

void write_experts(const Config& config, Json::Object& keys) {
    const std::vector<bool> is_moe = model::moe_layers(config.moe, config.model.layers);
    const auto first = std::ranges::find(is_moe, true) - is_moe.begin();
    const model::MoeConfig& moe = config.moe;
    keys.push_back({"first_k_dense_replace", static_cast<index_t>(first)});
    keys.push_back({"n_routed_experts", moe.experts});
    keys.push_back({"num_experts_per_tok", moe.top_k});
    keys.push_back({"moe_intermediate_size", moe.expert_width});
    keys.push_back({"n_shared_experts", moe.shared_experts});
    keys.push_back({"routed_scaling_factor", moe.routed_scale});
    keys.push_back({"moe_layer_freq", 1});
    keys.push_back({"attention_bias", config.model.attention.bias == model::Biases::query_key_value});
}

void read_experts(ConfigKeys& keys, Config& config, index_t first_dense) {
    model::MoeConfig& moe = config.moe;
    const index_t first = keys.whole("first_k_dense_replace", first_dense);
    moe.layers = first <= 0 ? "all" : first >= config.model.layers ? "none" : concat("from:", first);
    moe.experts = keys.whole("n_routed_experts");
    moe.top_k = keys.whole("num_experts_per_tok");
    moe.expert_width = keys.whole("moe_intermediate_size");
    moe.shared_experts = keys.whole("n_shared_experts", 0);
    moe.routed_scale = keys.number("routed_scaling_factor", 1.0);
    keys.only("moe_layer_freq", 1);
    keys.ignore({"ep_size", "seq_aux"});
    moe.balance.switch_loss = keys.number("aux_loss_alpha", 0.0);
}

void write_biased_routing(const Config& config, Json::Object& keys) {
    const bool limited = config.moe.router == "group_limited";
    keys.push_back({"scoring_func", "sigmoid"});
    keys.push_back({"topk_method", "noaux_tc"});
    keys.push_back({"n_group", limited ? config.moe.groups : 1});
    keys.push_back({"topk_group", limited ? config.moe.group_limit : 1});
    keys.push_back({"norm_topk_prob", config.moe.renormalise});
    keys.push_back({"num_nextn_predict_layers", config.model.mtp_depth});
}

void read_biased_routing(ConfigKeys& keys, Config& config) {
    model::MoeConfig& moe = config.moe;
    keys.only("scoring_func", "sigmoid");
    keys.only("topk_method", "noaux_tc");
    moe.score = model::Score::sigmoid;
    moe.renormalise = keys.flag("norm_topk_prob", true);
    moe.balance.bias_rate = kBiasRate;
    const index_t groups = keys.whole("n_group", 1);
    const index_t limit = keys.whole("topk_group", 1);
    if (groups > 1) {
        moe.router = "group_limited";
        moe.groups = groups;
        moe.group_limit = limit;
        moe.group_score = model::GroupScore::top_sum;
    }
    const index_t depth = keys.whole("num_nextn_predict_layers", 0);
    config.model.mtp_depth = keys.whole("num_mtp_layers", depth);
}

std::vector<std::string> biased_routing_problems(const Config& config) {
    const model::MoeConfig& moe = config.moe;
    if (moe.router != "group_limited" || moe.group_limit * 2 == moe.top_k) return {};
    return {concat("moe.top_k / moe.group_limit = ", moe.top_k, " / ", moe.group_limit,
                   ", but the class adds up the 2 best scores of a group")};
}

void write_latent(const Config& config, Json::Object& keys) {
    const model::AttentionConfig& attention = config.model.attention;
    keys.push_back({"q_lora_rank", attention.query_rank > 0 ? Json(attention.query_rank) : Json()});
    keys.push_back({"kv_lora_rank", attention.kv_rank});
    keys.push_back({"qk_nope_head_dim", config.model.head_dim});
    keys.push_back({"qk_rope_head_dim", attention.rope_dim});
    keys.push_back({"v_head_dim", attention.value_dim});
}

void read_latent(ConfigKeys& keys, Config& config) {
    model::AttentionConfig& attention = config.model.attention;
    attention.query_rank = keys.whole("q_lora_rank", 0);
    attention.kv_rank = keys.whole("kv_lora_rank");
    config.model.head_dim = keys.whole("qk_nope_head_dim");
    attention.rope_dim = keys.whole("qk_rope_head_dim");
    attention.value_dim = keys.whole("v_head_dim");
    keys.only("attention_bias", false);
    keys.ignore({"head_dim", "qk_head_dim"});  // the class computes them
}

std::vector<std::string> latent_problems(const Config& config) {
    if (config.model.norm_eps == kLatentNormEps) return {};
    return {concat("model.norm_eps = ", config.model.norm_eps,
                   ", but the class has norms of compressed queries and keys with 1e-6 whatever "
                   "rms_norm_eps is")};
}

void add_latent_attention(ModelBuilder& builder, const Config& config, const std::string& theirs,
                          const std::string& ours, RopePairs pairs) {
    const RotaryOrder query_order = latent_order(config, pairs, config.model.head_width());
    if (config.model.attention.query_rank > 0) {
        builder.transposed(theirs + "q_a_proj.weight", ours + "query_down");
        add_norm(builder, theirs + "q_a_layernorm", ours + "query_norm");
        builder.transposed(theirs + "q_b_proj.weight", ours + "query").order = query_order;
    } else {
        builder.transposed(theirs + "q_proj.weight", ours + "query").order = query_order;
    }
    builder.transposed(theirs + "kv_a_proj_with_mqa.weight", ours + "key_value_down").order =
        latent_order(config, pairs, config.model.attention.kv_rank);
    add_norm(builder, theirs + "kv_a_layernorm", ours + "key_value_norm");
    builder.transposed(theirs + "kv_b_proj.weight", ours + "key_value_up");
    builder.transposed(theirs + "o_proj.weight", ours + "output");
}

void add_feed_forward(ModelBuilder& builder, const Config& config, const std::string& theirs,
                      const std::string& ours, ExpertLayout layout, SelectionBias bias) {
    if (!builder.has(ours + "moe.router")) {
        add_gated(builder, theirs, ours + "feed_forward");
        return;
    }
    builder.transposed(theirs + ".gate.weight", ours + "moe.router");
    if (bias == SelectionBias::tensor) {
        const std::string name = theirs + ".gate.e_score_correction_bias";
        if (config.moe.balance.bias_rate > 0.0) {
            builder.router_state(name, ours + "moe", config.moe.experts);
        } else {
            builder.constant(name, {config.moe.experts}, 0.0F).keep_f32 = true;
        }
    }
    add_experts(builder, theirs + ".experts.", ours + "moe.experts", layout);
    if (builder.has(ours + "moe.shared.up")) {
        add_gated(builder, theirs + ".shared_experts", ours + "moe.shared");
        return;
    }
    // The class makes a shared expert of width 0.
    builder.constant(theirs + ".shared_experts.gate_proj.weight", {0, config.model.hidden}, 0.0F);
    builder.constant(theirs + ".shared_experts.up_proj.weight", {0, config.model.hidden}, 0.0F);
    builder.constant(theirs + ".shared_experts.down_proj.weight", {config.model.hidden, 0}, 0.0F);
}

void add_prediction_modules(ModelBuilder& builder, const Config& config, const AddBlock& add_block) {
    for (index_t depth = 0; depth < config.model.mtp_depth; ++depth) {
        const std::string theirs = "model." + layer_name(config.model.layers + depth);
        const std::string ours = concat("mtp.", depth, ".");
        add_shared_outer(builder, config, theirs);
        add_norm(builder, theirs + "enorm", ours + "embedding_norm");
        add_norm(builder, theirs + "hnorm", ours + "hidden_norm");
        add_joining_projection(builder, theirs + "eh_proj.weight", ours + "projection");
        add_block(theirs, ours);
    }
}

const HfFamily kDeepseekV2{"deepseek_v2", "DeepseekV2ForCausalLM", write_v2, read_v2,
                           v2_tensors,    latent_problems};
const HfFamily kDeepseekV3{"deepseek_v3", "DeepseekV3ForCausalLM", write_v3, read_v3, v3_tensors,
                           v3_problems};

}  // namespace sy::runtime::hf
