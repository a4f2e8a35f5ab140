#include <algorithm>
#include <cmath>

#include "model/families/preset.hpp"

namespace sy::model {
namespace {

constexpr index_t kHidden = 64;
constexpr index_t kSequence = 32;
constexpr index_t kMostExperts = 16;
constexpr index_t kMostChosen = 4;

/// `width` as it relates to `whole`, of a small whole; a multiple of `step`.
index_t in_proportion(index_t width, index_t whole, index_t small_whole, index_t step) {
    const double exact = static_cast<double>(width) * static_cast<double>(small_whole) /
                         static_cast<double>(whole) / static_cast<double>(step);
    return std::max<index_t>(1, std::llround(exact)) * step;
}

/// The same kind of pattern for fewer layers: every:N keeps a layer of each sort, from:N one layer before it, a list
/// what of it is left.
std::string small_pattern(const std::string& pattern, index_t num_layers) {
    if (pattern == "all" || pattern == "none") return pattern;
    if (pattern.starts_with("every:")) {
        const index_t period = std::stoll(pattern.substr(6));
        return concat("every:", std::min(period, num_layers));
    }
    if (pattern.starts_with("from:")) return pattern == "from:0" ? pattern : "from:1";
    std::string kept;
    for (std::size_t start = 0; start < pattern.size();) {
        const std::size_t end = std::min(pattern.find(',', start), pattern.size());
        const std::string layer = pattern.substr(start, end - start);
        if (std::stoll(layer) < num_layers) kept += (kept.empty() ? "" : ",") + layer;
        start = end + 1;
    }
    return kept.empty() ? "0" : kept;
}

/// Heads in two widths of groups of queries: one, two or four queries a key, or one key for all.
void scale_heads(ModelConfig& model) {
    const index_t group = model.heads / model.kv_heads;
    const double width =
        static_cast<double>(model.head_width() * model.heads) / static_cast<double>(model.hidden);
    const double scale = model.attention.scale * std::sqrt(static_cast<double>(model.head_width()));
    const bool one_key = model.kv_heads == 1 && model.heads > 1;
    const index_t value_dim = model.attention.value_dim;
    const index_t old_width = model.head_width();
    model.heads = group >= 4 && !one_key ? 8 : 4;
    model.kv_heads = one_key ? 1 : model.heads / (group >= 4 ? 4 : group >= 2 ? 2 : 1);
    // A multiple of 8, of which a quarter can be rotated in pairs. Beyond twice hidden nothing changes.
    const double exact = std::min(width, 2.0) * kHidden / static_cast<double>(model.heads) / 8.0;
    model.head_dim = std::max<index_t>(1, std::llround(exact)) * 8;
    // A scale of exactly 1 is T5's, and a rule by itself.
    if (model.attention.scale != 1.0)
        model.attention.scale = scale / std::sqrt(static_cast<double>(model.head_dim));
    if (value_dim > 0) model.attention.value_dim = in_proportion(value_dim, old_width, model.head_dim, 2);
}

void scale_mixture(MoeConfig& moe) {
    const double limit =
        moe.groups > 0 ? static_cast<double>(moe.group_limit) / static_cast<double>(moe.groups) : 0.0;
    moe.experts = std::min(moe.experts, kMostExperts);
    moe.top_k = std::min({moe.top_k, kMostChosen, moe.experts});
    moe.shared_experts = std::min<index_t>(moe.shared_experts, 2);
    if (moe.groups == 0) return;
    moe.groups = std::min<index_t>(moe.groups, 4);
    if (moe.group_limit > 0) {
        moe.group_limit = std::max<index_t>(1, std::llround(limit * static_cast<double>(moe.groups)));
    }
}

}  // namespace

void scale_down(ModelConfig& model, MoeConfig& moe) {
    const index_t layers = std::min<index_t>(model.layers, moe.layers == "every:4" ? 4 : 2);
    moe.layers = small_pattern(moe.layers, layers);
    moe.expert_width = std::min(in_proportion(moe.expert_width, model.hidden, kHidden, 8), 16 * kHidden);
    scale_mixture(moe);
    model.attention.window_layers = small_pattern(model.attention.window_layers, layers);
    if (model.attention.window > 0) model.attention.window = std::min(model.attention.window, kSequence / 2);
    if (model.attention.query_rank > 0) model.attention.query_rank = kHidden / 2;
    model.attention.kv_rank = kHidden / 4;
    model.attention.rope_dim = 8;
    scale_heads(model);
    if (model.position.rope_original_len > 0) {
        const double length = static_cast<double>(kSequence) / model.position.rope_factor;
        model.position.rope_original_len = std::max<index_t>(8, std::llround(length));
    }
    model.ffn_width = std::min(in_proportion(model.ffn_width, model.hidden, kHidden, 8), 16 * kHidden);
    if (model.embedding_scale != 1.0)
        model.embedding_scale *= std::sqrt(static_cast<double>(kHidden) / static_cast<double>(model.hidden));
    // T5's is 1 / root of hidden, Grok's a number by itself.
    const double root = std::sqrt(static_cast<double>(model.hidden));
    if (std::abs(model.logit_scale * root - 1.0) < 1e-9)
        model.logit_scale = 1.0 / std::sqrt(static_cast<double>(kHidden));
    model.hidden = kHidden;
    model.layers = layers;
    model.encoder_layers = std::min(model.encoder_layers, layers);
    // Bytes, and ids for masked tokens and the sentinels of corrupted spans.
    model.vocab_size = model.architecture == Architecture::decoder ? 256 : 320;
    model.seq_len = kSequence;
}

}  // namespace sy::model
