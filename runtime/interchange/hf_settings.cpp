#include "runtime/interchange/hf_settings.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>

#include "runtime/config/option.hpp"

namespace sy::runtime {
namespace {

/// Settings of the sections that describe a model which matter in training alone, or decide what is dropped: foreign
/// models drop nothing.
constexpr std::array<std::string_view, 22> kTrainingOnly{"model.recompute",
                                                         "model.init_std",
                                                         "model.dtype",
                                                         "model.seq_len",
                                                         "model.dropout",
                                                         "model.output_z_loss",
                                                         "model.mtp_loss",
                                                         "model.mask_fraction",
                                                         "model.span_length",
                                                         "attention.dropout",
                                                         "moe.allow_noncausal",
                                                         "moe.noise_std",
                                                         "moe.noise",
                                                         "moe.jitter",
                                                         "moe.random_second",
                                                         "moe.router_dtype",
                                                         "moe.capacity_factor",
                                                         "moe.eval_capacity_factor",
                                                         "moe.expert_dropout",
                                                         "moe.device_capacity",
                                                         "moe.protected_fraction",
                                                         "moe.wire"};
constexpr std::array<std::string_view, 3> kDropping{"moe.min_capacity", "moe.capacity_scope", "moe.drop_by"};

bool decides_outputs(const Option& option) {
    const std::string section = option.section();
    const bool describes_model =
        section == "model" || section == "attention" || section == "position" || section == "moe";
    return describes_model && std::ranges::find(kTrainingOnly, option.name) == kTrainingOnly.end() &&
           std::ranges::find(kDropping, option.name) == kDropping.end();
}

void settle_attention(model::ModelConfig& model) {
    const model::ModelConfig initial;
    model::AttentionConfig& attention = model.attention;
    const bool latent = attention.kind == model::AttentionKind::latent;
    if (latent) {
        if (attention.value_dim == 0) attention.value_dim = model.head_dim;
        model.kv_heads = model.heads;
        model.position.rope_fraction = initial.position.rope_fraction;
    } else {
        attention.query_rank = initial.attention.query_rank;
        attention.kv_rank = initial.attention.kv_rank;
        attention.rope_dim = initial.attention.rope_dim;
        attention.value_dim = initial.attention.value_dim;
    }
    const index_t width = model.head_dim + (latent ? attention.rope_dim : 0);
    const double usual = 1.0 / std::sqrt(static_cast<double>(width));
    if (std::abs(attention.scale - usual) < 1e-12 * usual) attention.scale = 0.0;
    if (attention.window == 0) attention.window_layers = initial.attention.window_layers;
}

void settle_positions(model::PositionConfig& position) {
    const model::PositionConfig initial;
    const auto kind = position.kind;
    if (kind != model::PositionKind::rope) {
        const index_t buckets = position.t5_buckets;
        const index_t distance = position.t5_max_distance;
        position = initial;
        position.kind = kind;
        position.t5_buckets = buckets;
        position.t5_max_distance = distance;
    }
    // Weights are written in the order that the other side rotates.
    position.rope_pairs = initial.rope_pairs;
    if (position.rope_scaling == model::RopeScaling::none) {
        position.rope_factor = initial.rope_factor;
        position.rope_original_len = initial.rope_original_len;
    }
    if (kind != model::PositionKind::t5) {
        position.t5_buckets = initial.t5_buckets;
        position.t5_max_distance = initial.t5_max_distance;
    }
}

void settle_mixture(Config& config) {
    const model::MoeConfig initial;
    model::MoeConfig& moe = config.moe;
    const std::vector<bool> is_moe = model::moe_layers(moe, config.model.layers);
    const std::string layers = short_pattern(is_moe);
    const bool all = std::ranges::count(is_moe, true) == std::ssize(is_moe);
    if (layers == "none") {
        const model::BalanceConfig balance = moe.balance;
        moe = initial;
        moe.balance = balance;
    }
    moe.layers = layers;
    if (all && config.model.mtp_depth == 0) {
        config.model.ffn_width = model::ModelConfig{}.ffn_width;
        config.model.ffn_bias = false;
    }
    if (moe.router != "group_limited") {
        moe.groups = initial.groups;
        moe.group_limit = initial.group_limit;
        moe.group_score = initial.group_score;
    }
    if (moe.router != "hash") moe.hash = initial.hash;
}

}  // namespace

std::string short_pattern(const std::vector<bool>& layers) {
    const auto num_layers = static_cast<index_t>(layers.size());
    const auto is = [&](const std::string& pattern) {
        return model::layer_pattern("layers", pattern, num_layers) == layers;
    };
    for (const char* const pattern : {"all", "none"})
        if (is(pattern)) return pattern;
    for (index_t number = 2; number <= num_layers; ++number)
        if (is(concat("every:", number))) return concat("every:", number);
    for (index_t number = 1; number < num_layers; ++number)
        if (is(concat("from:", number))) return concat("from:", number);
    std::string list;
    for (std::size_t layer = 0; layer < layers.size(); ++layer)
        if (layers[layer]) list += concat(list.empty() ? "" : ",", layer);
    return list;
}

Config without_inert_settings(const Config& config) {
    Config plain = config;
    plain.model.head_dim = config.model.head_width();
    plain.model.encoder_layers = config.model.num_encoder_layers();
    const double root = std::sqrt(static_cast<double>(config.model.hidden));
    if (std::abs(plain.model.embedding_scale - root) < 1e-12 * root) plain.model.embedding_scale = root;
    if (std::abs(plain.model.logit_scale * root - 1.0) < 1e-12) plain.model.logit_scale = 1.0 / root;
    settle_attention(plain.model);
    settle_positions(plain.model.position);
    if (plain.model.attention.window > 0) {
        plain.model.attention.window_layers = short_pattern(model::layer_pattern(
            "attention.window_layers", plain.model.attention.window_layers, plain.model.layers));
    }
    settle_mixture(plain);
    return plain;
}

std::vector<std::string> differing_settings(const Config& wanted, const Config& read) {
    Config ours = wanted;
    Config theirs = read;
    const std::vector<Option> our_options = options_of(ours);
    const std::vector<Option> their_options = options_of(theirs);
    std::vector<std::string> problems;
    for (std::size_t i = 0; i < our_options.size(); ++i) {
        const Option& option = our_options[i];
        if (!decides_outputs(option) || option.get() == their_options[i].get()) continue;
        problems.push_back(
            concat(option.name, " = ", option.get(), " would be read as ", their_options[i].get()));
    }
    return problems;
}

}  // namespace sy::runtime
