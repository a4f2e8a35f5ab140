#include "runtime/interchange/gguf/requirements.hpp"

#include <algorithm>
#include <cmath>

#include "kernels/core/decimal.hpp"

namespace sy::runtime::gguf {
namespace {

constexpr index_t kMostExperts = 512;
/// llama.cpp adds up the best two of a group.
constexpr index_t kCountedOfGroup = 2;

bool close(double a, double b) {
    return std::abs(a - b) <= 1e-6 * std::abs(b);
}

}  // namespace

bool has_mixture(const Config& config) {
    return leading_dense_layers(config) < config.model.layers;
}

index_t leading_dense_layers(const Config& config) {
    const std::vector<bool> mixtures = model::moe_layers(config.moe, config.model.layers);
    return std::ranges::find(mixtures, true) - mixtures.begin();
}

index_t key_width(const model::ModelConfig& model) {
    const bool latent = model.attention.kind == model::AttentionKind::latent;
    return model.head_width() + (latent ? model.attention.rope_dim : 0);
}

index_t value_width(const model::ModelConfig& model) {
    return model.attention.value_dim > 0 ? model.attention.value_dim : model.head_width();
}

index_t rotary_width(const model::ModelConfig& model) {
    if (model.attention.kind == model::AttentionKind::latent) return model.attention.rope_dim;
    return 2 * decimal_floor(model.position.rope_fraction, model.head_width(), 2);
}

bool has_usual_scale(const model::ModelConfig& model) {
    return model.attention.scale == 0.0 ||
           close(model.attention.scale, 1.0 / std::sqrt(static_cast<double>(key_width(model))));
}

void Requirements::sizes() {
    const model::ModelConfig& model = config_.model;
    require(model.layers <= kMostLayers, "model.layers: at most ", kMostLayers);
}

void Requirements::plain_head() {
    const model::ModelConfig& model = config_.model;
    require(!model.head_bias && !model.head_transform && model.token_types == 0,
            "model.head_bias, model.head_transform, model.token_types: only no, no and 0");
}

void Requirements::decoder() {
    const model::ModelConfig& model = config_.model;
    sizes();
    plain_head();
    require(model.architecture == model::Architecture::decoder, "model.architecture: only decoder");
    require(model.wiring == model::Wiring::serial, "model.wiring: only serial");
    require(model.position.rope_scaling != model::RopeScaling::llama3,
            "position.rope_scaling: only none, linear, ntk or yarn");
}

void Requirements::plain_embedding() {
    require(config_.model.embedding_scale == 1.0, "model.embedding_scale: only 1");
    require(config_.model.logit_softcap == 0.0, "model.logit_softcap: only 0");
    require(config_.model.logit_scale == 1.0, "model.logit_scale: only 1");
}

void Requirements::plain_attention() {
    const model::AttentionConfig& attention = config_.model.attention;
    require(attention.softcap == 0.0, "attention.softcap: only 0");
    require(attention.window == 0, "attention.window: only 0");
    require(has_usual_scale(config_.model), "attention.scale: only 1 / sqrt(head width)");
}

void Requirements::rms_decoder() {
    decoder();
    const model::ModelConfig& model = config_.model;
    require(model.norm == model::NormKind::rms && !model.norm_bias,
            "model.norm, model.norm_bias: only rms without bias");
    require(model.norm_placement == model::NormPlacement::pre, "model.norm_placement: only pre");
    plain_embedding();
    require(!model.embedding_norm, "model.embedding_norm: only no");
    require(model.activation == model::Activation::swiglu, "model.activation: only swiglu");
    require(!model.ffn_bias, "model.ffn_bias: only no");
    plain_attention();
    require(model.attention.clip_qkv == 0.0, "attention.clip_qkv: only 0");
    require(model.position.kind == model::PositionKind::rope, "position.kind: only rope");
}

void Requirements::grouped_attention(Rotation rotation) {
    const model::ModelConfig& model = config_.model;
    require(model.attention.kind == model::AttentionKind::grouped, "attention.kind: only grouped");
    if (rotation == Rotation::whole)
        require(rotary_width(model) == model.head_width(), "position.rope_fraction: only 1");
}

void Requirements::dense() {
    require(!has_mixture(config_), "moe.layers: only none");
}

void Requirements::trailing_mixtures() {
    const std::vector<bool> mixtures = model::moe_layers(config_.moe, config_.model.layers);
    const auto first = std::ranges::find(mixtures, true);
    require(first != mixtures.end(), "moe.layers: at least one mixture");
    require(std::all_of(first, mixtures.end(), [](bool mixture) { return mixture; }),
            "moe.layers: no dense layer behind a mixture");
}

void Requirements::routing() {
    require(config_.moe.experts <= kMostExperts, "moe.experts: at most ", kMostExperts);
    require(!config_.moe.random_second, "moe.random_second: only no");
}

void Requirements::top_k_routing() {
    const model::MoeConfig& moe = config_.moe;
    routing();
    require(moe.router == "top_k", "moe.router: only top_k");
    require(moe.score == model::Score::softmax, "moe.score: only softmax");
    require(moe.routed_scale == 1.0, "moe.routed_scale: only 1");
    require(moe.balance.bias_rate == 0.0, "balance.bias_rate: only 0");
}

void Requirements::plain_routing() {
    top_k_routing();
    require(config_.moe.renormalise, "moe.renormalise: only yes");
    require(config_.moe.shared_experts == 0, "moe.shared_experts: only 0");
}

void Requirements::usual_widths() {
    const model::ModelConfig& model = config_.model;
    require(model.head_width() * model.heads == model.hidden, "model.head_dim: only hidden / heads");
    require(!model.tied_head, "model.tied_head: only no");
}

void Requirements::described_routing() {
    const model::MoeConfig& moe = config_.moe;
    routing();
    require(!moe.shared_gate, "moe.shared_gate: only no");
    require(moe.score == model::Score::softmax || moe.score == model::Score::sigmoid,
            "moe.score: only softmax or sigmoid");
    require(moe.router == "top_k" || moe.router == "group_limited",
            "moe.router: only top_k or group_limited");
    if (moe.router != "group_limited" || moe.group_limit == moe.groups) return;
    require(moe.group_score == model::GroupScore::top_sum && moe.group_limit > 0 &&
                moe.top_k / moe.group_limit == kCountedOfGroup,
            "moe.group_score: groups are judged by the sum of their two best, as with top_sum and "
            "moe.top_k = 2 moe.group_limit");
}

void Requirements::layer_norm_decoder() {
    decoder();
    dense();
    const model::ModelConfig& model = config_.model;
    require(model.norm == model::NormKind::layer && model.norm_bias,
            "model.norm, model.norm_bias: only layer with bias");
    require(model.norm_placement == model::NormPlacement::pre, "model.norm_placement: only pre");
    plain_embedding();
    require(model.activation == model::Activation::gelu_tanh,
            model.activation == model::Activation::relu
                ? "model.activation: only gelu_tanh; with relu it is OPT, of which llama.cpp has no graph"
                : "model.activation: only gelu_tanh");
    require(model.ffn_bias && model.attention.bias == model::Biases::all,
            "model.ffn_bias, attention.bias: only yes and all");
    require(model.attention.kind == model::AttentionKind::grouped, "attention.kind: only grouped");
    require(model.head_width() * model.heads == model.hidden, "model.head_dim: only hidden / heads");
    require(model.attention.qk_norm == model::QkNorm::none, "attention.qk_norm: only no");
    plain_attention();
    require(model.attention.clip_qkv == 0.0, "attention.clip_qkv: only 0");
}

}  // namespace sy::runtime::gguf
