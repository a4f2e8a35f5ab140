#include "model/config.hpp"

#include <cmath>

#include "kernels/core/decimal.hpp"
#include "kernels/core/problems.hpp"
#include "model/moe/router/problems.hpp"
#include "model/moe/router/strategy.hpp"
#include "model/objective/spans.hpp"

namespace sy::model {
namespace {

void capacity_problems(const MoeConfig& moe, Problems& problems) {
    problems.require(moe.device_capacity <= 0.0 || (moe.groups > 0 && moe.experts % moe.groups == 0),
                     "moe.device_capacity = ", moe.device_capacity,
                     " needs equal groups of experts, but moe.groups = ", moe.groups,
                     " for moe.experts = ", moe.experts, "; set moe.groups to a divisor");
    problems.require(
        moe.capacity_factor > 0.0 || moe.drop_by == DropBy::position,
        "moe.drop_by chooses who is dropped, but moe.capacity_factor = 0 drops nobody; set a factor or "
        "moe.drop_by = position");
    problems.require(moe.capacity_factor > 0.0 || moe.eval_capacity_factor == 0.0,
                     "moe.eval_capacity_factor = ", moe.eval_capacity_factor,
                     " limits evaluation, but moe.capacity_factor = 0 drops nobody in training; set both, or "
                     "neither");
    problems.require(
        moe.capacity_factor > 0.0 || moe.capacity_scope == CapacityScope::global,
        "moe.capacity_scope = local limits the tokens of a rank, but moe.capacity_factor = 0 is no limit; "
        "set a factor or moe.capacity_scope = global");
}

void position_problems(const ModelConfig& model, Problems& problems) {
    const PositionConfig& position = model.position;
    if (position.kind == PositionKind::rope && model.attention.kind == AttentionKind::grouped) {
        problems.require(decimal_floor(position.rope_fraction, model.head_width(), 2) >= 1 &&
                             decimal_is_whole(position.rope_fraction, model.head_width(), 2),
                         "position.rope_fraction = ", position.rope_fraction, " of the head width ",
                         model.head_width(), " is no even number of columns; change it or model.head_dim");
    }
    const bool stretched = position.rope_scaling != RopeScaling::none;
    problems.require(
        !stretched || position.kind == PositionKind::rope,
        "position.rope_scaling needs position.kind = rope; set it, or position.rope_scaling = none");
    const index_t rotated = model.attention.kind == AttentionKind::latent
                                ? model.attention.rope_dim
                                : 2 * decimal_floor(position.rope_fraction, model.head_width(), 2);
    problems.require(
        position.rope_scaling != RopeScaling::ntk || rotated > 2,
        "position.rope_scaling = ntk stretches the wavelengths between the first and the last pair of "
        "columns, and ",
        rotated, " are rotated; rotate more, or use another scaling");
    problems.require(position.rope_scaling != RopeScaling::yarn || position.rope_theta > 1.0,
                     "position.rope_scaling = yarn divides by the logarithm of position.rope_theta = ",
                     position.rope_theta, "; set it above 1");
    const bool needs_length =
        position.rope_scaling == RopeScaling::llama3 || position.rope_scaling == RopeScaling::yarn;
    problems.require(
        !needs_length || position.rope_original_len > 0,
        "position.rope_scaling = llama3 and yarn need the trained length; set position.rope_original_len");
    const bool both_sides = model.architecture != Architecture::decoder;
    problems.require(position.kind != PositionKind::t5 ||
                         (position.t5_buckets % (both_sides ? 4 : 2) == 0 &&
                          position.t5_max_distance > position.t5_buckets / (both_sides ? 4 : 2)),
                     "position.t5_buckets = ", position.t5_buckets, " must be a multiple of ",
                     both_sides ? 4 : 2, " with position.t5_max_distance = ", position.t5_max_distance,
                     " beyond ", position.t5_buckets / (both_sides ? 4 : 2), "; T5 has 32 and 128");
}

void latent_problems(const ModelConfig& model, Problems& problems) {
    const AttentionConfig& attention = model.attention;
    if (attention.kind != AttentionKind::latent) return;
    problems.require(
        model.kv_heads == model.heads,
        "attention.kind = latent gives every head its own keys and values; set model.kv_heads = ",
        model.heads);
    const bool rotates = model.position.kind == PositionKind::rope;
    problems.require(rotates || model.position.kind == PositionKind::none,
                     "attention.kind = latent knows position.kind = rope and none; set one of them");
    problems.require(!rotates || (attention.rope_dim >= 2 && attention.rope_dim % 2 == 0),
                     "attention.rope_dim = ", attention.rope_dim,
                     " must be even and positive where positions rotate; DeepSeek-V2 has 64");
    problems.require(attention.bias == Biases::none,
                     "attention.kind = latent has no biases; set attention.bias = none");
    problems.require(attention.qk_norm == QkNorm::none,
                     "attention.kind = latent normalises its compressed rows; set attention.qk_norm = no");
    problems.require(attention.clip_qkv == 0.0,
                     "attention.kind = latent has no projections to clip; set attention.clip_qkv = 0");
}

/// Below, 1 / cap overflows, or all logits are capped to almost the same number.
constexpr double kLeastDivisor = 1e-3;

/// What scores and logits are divided by: 0 where nothing is to be done, or a number that can be divided by.
void divisor_problems(const ModelConfig& model, Problems& problems) {
    const std::pair<const char*, double> settings[] = {{"model.logit_softcap", model.logit_softcap},
                                                       {"attention.softcap", model.attention.softcap}};
    for (const auto& [name, value] : settings) {
        problems.require(value == 0.0 || (value >= kLeastDivisor && std::isfinite(value)), name, " = ", value,
                         " cannot be divided by; set 0 for no cap, or at least ", kLeastDivisor,
                         " (Gemma 2: 30 and 50)");
    }
    problems.require(model.attention.scale == 0.0 ||
                         (model.attention.scale >= 1e-6 && std::isfinite(model.attention.scale)),
                     "attention.scale = ", model.attention.scale,
                     " leaves nothing of the scores; set 0 for 1 / sqrt(head width), or at least 1e-6");
}

void attention_problems(const ModelConfig& model, Problems& problems) {
    const AttentionConfig& attention = model.attention;
    position_problems(model, problems);
    divisor_problems(model, problems);
    latent_problems(model, problems);
    problems.require(attention.window == 0 || model.architecture == Architecture::decoder,
                     "attention.window is for causal attention; set it to 0 where there is an encoder");
    problems.add_failure(
        [&] { layer_pattern("attention.window_layers", attention.window_layers, model.layers); });
}

void block_problems(const ModelConfig& model, Problems& problems) {
    problems.require(
        model.wiring == Wiring::serial || model.norm_placement == NormPlacement::pre ||
            model.norm_placement == NormPlacement::both,
        "model.wiring = parallel needs one norm that both sub-layers read; set model.norm_placement = pre "
        "or both");
    const bool decoder = model.architecture == Architecture::decoder;
    problems.require(model.wiring == Wiring::serial || model.architecture != Architecture::encoder_decoder,
                     "model.wiring = parallel has no place for cross-attention; set it to serial");
    problems.require(model.architecture != Architecture::encoder || model.vocab_size > 256,
                     "model.vocab_size = ", model.vocab_size,
                     " leaves no id for masked tokens beside 256 bytes; set it to at least 257");
    if (model.architecture == Architecture::encoder_decoder) {
        problems.add_all(span_problems(model));
        problems.require(model.attention.kind == AttentionKind::grouped,
                         "model.architecture = encoder_decoder needs attention.kind = grouped; set it");
    }
    problems.require(
        model.mtp_depth == 0 || decoder,
        "model.mtp_depth predicts tokens after the next one, which only a decoder does; set it to 0");
    problems.require(
        model.mtp_depth == 0 || !model.head_transform,
        "model.head_transform stands before one head, and model.mtp_depth needs several; set one of them to "
        "0 or no");
    problems.require(
        !model.head_transform || !ops::is_gated(model.activation),
        "model.head_transform has the activation of the model without a gate; set model.activation = "
        "gelu instead of ",
        ops::activation_name(model.activation), ", or model.head_transform = no");
    problems.require(model.mtp_depth < model.seq_len, "model.mtp_depth = ", model.mtp_depth,
                     " looks beyond sequences of ", model.seq_len,
                     " tokens; lower it or raise model.seq_len");
}

}  // namespace

std::vector<std::string> model_problems(const ModelConfig& model, const MoeConfig& moe) {
    Problems problems;
    problems.require(model.kv_heads > 0 && model.heads % model.kv_heads == 0,
                     "model.kv_heads = ", model.kv_heads, " does not divide model.heads = ", model.heads,
                     "; use a divisor");
    problems.require(model.head_dim > 0 || model.hidden % model.heads == 0, "model.heads = ", model.heads,
                     " does not divide model.hidden = ", model.hidden, "; change one, or set model.head_dim");
    attention_problems(model, problems);
    block_problems(model, problems);
    problems.require(model.dtype == DType::f32 || model.dtype == DType::bf16,
                     "model.dtype = ", dtype_name(model.dtype), " cannot be computed with; use f32 or bf16");
    problems.require(moe.top_k <= moe.experts, "moe.top_k = ", moe.top_k,
                     " is more than moe.experts = ", moe.experts, "; lower it or add experts");
    problems.add_failure([&] { require_router(moe.router); });
    problems.require(
        !moe.shared_gate || moe.shared_experts > 0,
        "moe.shared_gate gates the output of shared experts, and moe.shared_experts = 0; set both, or "
        "neither");
    capacity_problems(moe, problems);
    problems.add_all(assignment_problems(model, moe));
    problems.add_all(routing_problems(moe));
    problems.add_failure([&] {
        moe_layers(moe, model.layers);
        if (model.architecture == Architecture::encoder_decoder) moe_layers(moe, model.num_encoder_layers());
    });
    return problems.take();
}

std::vector<std::string> model_notes(const MoeConfig& moe) {
    std::vector<std::string> notes;
    if (moe.capacity_scope == CapacityScope::local) {
        notes.emplace_back(
            "moe.capacity_scope = local: which choices are dropped, and with them the losses, depends on the "
            "number of ranks; moe.capacity_scope = global does not");
    }
    const bool limits = moe.router == "group_limited" || moe.balance.communication_loss > 0.0;
    if (moe.group_limit > 0 && !limits) {
        notes.push_back(concat("moe.group_limit = ", moe.group_limit, " limits nothing with moe.router = ",
                               moe.router, "; moe.router = group_limited makes it count"));
    }
    return notes;
}

}  // namespace sy::model
