#include "runtime/interchange/gguf/keys.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <type_traits>
#include <utility>

#include "runtime/interchange/gguf/requirements.hpp"

namespace sy::runtime::gguf {
namespace {

/// 0.1 times DeepSeek's mscale_all_dim, which is 1 here.
constexpr double kLatentYarnMultiplier = 0.1;
constexpr index_t kSoftmax = 1;
constexpr index_t kSigmoid = 2;

/// The number that a key holds, of whatever type.
template <class T>
std::optional<T> as(const Value* value) {
    if (value == nullptr) return std::nullopt;
    return std::visit(
        [](const auto& held) -> std::optional<T> {
            using Held = std::decay_t<decltype(held)>;
            if constexpr (std::is_same_v<T, index_t>) {
                if constexpr (std::is_integral_v<Held> && !std::is_same_v<Held, bool>) {
                    if (std::in_range<index_t>(held)) return static_cast<index_t>(held);
                }
            } else if constexpr (std::is_same_v<Held, T>) {
                return held;
            }
            return std::nullopt;
        },
        *value);
}

/// NTK's stretching is another base.
double rotary_base(const model::ModelConfig& model) {
    const model::PositionConfig& position = model.position;
    if (position.rope_scaling != model::RopeScaling::ntk) return position.rope_theta;
    const auto width = static_cast<double>(rotary_width(model));
    return position.rope_theta * std::pow(position.rope_factor, width / (width - 2.0));
}

/// 1e-05F is 9.99999974737875e-06 as a double; what was meant is 1e-05.
double shortest(float value) {
    char text[32];
    const auto written = std::to_chars(text, text + sizeof text, value);
    double result = value;
    std::from_chars(text, written.ptr, result);
    return result;
}

}  // namespace

void KeyList::number(const std::string& name, index_t value) {
    keys_.push_back({own(name), narrow<std::uint32_t>(value)});
}

void KeyList::real(const std::string& name, double value) {
    keys_.push_back({own(name), static_cast<float>(value)});
}

index_t KeyReader::number(const std::string& name) const {
    const std::optional<index_t> value = as<index_t>(find(name));
    if (!value) throw IoError(concat("GGUF: ", architecture_, ".", name, " is missing or no whole number"));
    return *value;
}

index_t KeyReader::number_or(const std::string& name, index_t otherwise) const {
    return has(name) ? number(name) : otherwise;
}

double KeyReader::real(const std::string& name) const {
    const std::optional<float> value = as<float>(find(name));
    if (!value) throw IoError(concat("GGUF: ", architecture_, ".", name, " is missing or no float"));
    return shortest(*value);
}

double KeyReader::real_or(const std::string& name, double otherwise) const {
    return has(name) ? real(name) : otherwise;
}

bool KeyReader::flag_or(const std::string& name, bool otherwise) const {
    const std::optional<bool> value = as<bool>(find(name));
    if (has(name) && !value) throw IoError(concat("GGUF: ", architecture_, ".", name, " is no bool"));
    return value.value_or(otherwise);
}

bool KeyReader::has_tensor(std::string_view name) const {
    return std::ranges::find(header_.tensors, name, &Tensor::name) != header_.tensors.end();
}

void add_decoder_keys(const Config& config, KeyList& keys) {
    const model::ModelConfig& model = config.model;
    keys.number("context_length", model.seq_len);
    keys.number("embedding_length", model.hidden);
    keys.number("block_count", model.layers);
    keys.number("vocab_size", model.vocab_size);
    keys.number("attention.head_count", model.heads);
    const bool rms = model.norm == model::NormKind::rms;
    keys.real(rms ? "attention.layer_norm_rms_epsilon" : "attention.layer_norm_epsilon", model.norm_eps);
    if (model.attention.kind == model::AttentionKind::latent) return;
    keys.number("attention.head_count_kv", model.kv_heads);
    keys.number("attention.key_length", model.head_width());
    keys.number("attention.value_length", model.head_width());
}

void read_decoder_settings(const KeyReader& keys, Config& config) {
    model::ModelConfig& model = config.model;
    model.seq_len = keys.number("context_length");
    model.hidden = keys.number("embedding_length");
    model.layers = keys.number("block_count");
    model.heads = keys.number("attention.head_count");
    if (model.heads < 1) throw IoError("GGUF: attention.head_count is not positive");
    model.kv_heads = keys.number_or("attention.head_count_kv", model.heads);
    const bool rms = keys.has("attention.layer_norm_rms_epsilon");
    model.norm_eps = keys.real(rms ? "attention.layer_norm_rms_epsilon" : "attention.layer_norm_epsilon");
    model.head_dim = keys.number_or("attention.key_length", model.hidden / model.heads);
    model.tied_head = !keys.has_tensor("output.weight");
    model.ffn_width = keys.number_or("feed_forward_length", model.ffn_width);
    const auto embedding = std::ranges::find(keys.header().tensors, "token_embd.weight", &Tensor::name);
    if (embedding == keys.header().tensors.end()) throw IoError("GGUF: there is no tensor token_embd.weight");
    model.vocab_size = embedding->shape[0];
    config.moe.layers = "none";
}

void add_rotary_keys(const Config& config, KeyList& keys) {
    const model::PositionConfig& position = config.model.position;
    keys.number("rope.dimension_count", rotary_width(config.model));
    keys.real("rope.freq_base", rotary_base(config.model));
    if (position.rope_scaling != model::RopeScaling::linear &&
        position.rope_scaling != model::RopeScaling::yarn)
        return;
    const bool yarn = position.rope_scaling == model::RopeScaling::yarn;
    keys.text("rope.scaling.type", yarn ? "yarn" : "linear");
    keys.real("rope.scaling.factor", position.rope_factor);
    if (!yarn) return;
    keys.number("rope.scaling.original_context_length", position.rope_original_len);
    if (config.model.attention.kind == model::AttentionKind::latent)
        keys.real("rope.scaling.yarn_log_multiplier", kLatentYarnMultiplier);
}

void read_rotary_settings(const KeyReader& keys, model::RopePairs pairs, index_t head_width, Config& config) {
    model::PositionConfig& position = config.model.position;
    position.kind = model::PositionKind::rope;
    position.rope_pairs = pairs;
    position.rope_theta = keys.real_or("rope.freq_base", 10000.0);
    const index_t rotated = keys.number_or("rope.dimension_count", head_width);
    if (config.model.attention.kind == model::AttentionKind::grouped && head_width > 0)
        position.rope_fraction = static_cast<double>(rotated) / static_cast<double>(head_width);
    if (!keys.has("rope.scaling.factor")) return;
    // Which of the two it is shows when the keys of these settings are compared with the file's.
    const bool yarn = keys.has("rope.scaling.original_context_length");
    position.rope_scaling = yarn ? model::RopeScaling::yarn : model::RopeScaling::linear;
    position.rope_factor = keys.real("rope.scaling.factor");
    if (yarn) position.rope_original_len = keys.number("rope.scaling.original_context_length");
}

void add_expert_counts(const Config& config, KeyList& keys) {
    keys.number("expert_count", config.moe.experts);
    keys.number("expert_used_count", config.moe.top_k);
}

void read_expert_counts(const KeyReader& keys, Config& config) {
    config.moe.layers = "all";
    config.moe.experts = keys.number("expert_count");
    config.moe.top_k = keys.number("expert_used_count");
}

void add_described_routing(const Config& config, KeyList& keys) {
    const model::MoeConfig& moe = config.moe;
    add_expert_counts(config, keys);
    keys.number("expert_feed_forward_length", moe.expert_width);
    // One of zeros stands in where there is none.
    keys.number("expert_shared_count", std::max<index_t>(1, moe.shared_experts));
    keys.number("leading_dense_block_count", leading_dense_layers(config));
    keys.real("expert_weights_scale", moe.routed_scale);
    keys.flag("expert_weights_norm", moe.renormalise);
    keys.number("expert_gating_func", moe.score == model::Score::softmax ? kSoftmax : kSigmoid);
    if (moe.router != "group_limited") return;
    keys.number("expert_group_count", moe.groups);
    keys.number("expert_group_used_count", moe.group_limit);
}

void read_described_routing(const KeyReader& keys, model::Score score, Config& config) {
    model::MoeConfig& moe = config.moe;
    read_expert_counts(keys, config);
    const index_t dense = keys.number_or("leading_dense_block_count", 0);
    moe.layers = dense > 0 ? concat("from:", dense) : "all";
    moe.expert_width = keys.number("expert_feed_forward_length");
    moe.shared_experts = keys.number_or("expert_shared_count", 0);
    moe.routed_scale = keys.real_or("expert_weights_scale", 1.0);
    moe.renormalise = keys.flag_or("expert_weights_norm", false);
    const index_t otherwise = score == model::Score::softmax ? kSoftmax : kSigmoid;
    moe.score = keys.number_or("expert_gating_func", otherwise) == kSigmoid ? model::Score::sigmoid
                                                                            : model::Score::softmax;
    moe.balance.bias_rate = keys.has_tensor(concat("blk.", dense, ".exp_probs_b.bias")) ? 1e-3 : 0.0;
    moe.groups = keys.number_or("expert_group_count", 0);
    moe.group_limit = keys.number_or("expert_group_used_count", 0);
    if (moe.groups <= 1) return;
    moe.router = "group_limited";
    moe.group_score = model::GroupScore::top_sum;
}

}  // namespace sy::runtime::gguf
