#pragma once

#include <span>

#include "kernels/core/device.hpp"
#include "kernels/ops/attention/attention.hpp"
#include "kernels/ops/balance/balance.hpp"
#include "kernels/ops/bias/bias.hpp"
#include "kernels/ops/cast/cast.hpp"
#include "kernels/ops/copy/copy.hpp"
#include "kernels/ops/dropout/dropout.hpp"
#include "kernels/ops/embedding/embedding.hpp"
#include "kernels/ops/expert_ffn/expert_ffn.hpp"
#include "kernels/ops/gate/gate.hpp"
#include "kernels/ops/gemm/gemm.hpp"
#include "kernels/ops/heads/heads.hpp"
#include "kernels/ops/noise/noise.hpp"
#include "kernels/ops/norm/norm.hpp"
#include "kernels/ops/normal/normal.hpp"
#include "kernels/ops/optimizer/optimizer.hpp"
#include "kernels/ops/permute/permute.hpp"
#include "kernels/ops/pointwise/pointwise.hpp"
#include "kernels/ops/policy/policy.hpp"
#include "kernels/ops/quantize/quantize.hpp"
#include "kernels/ops/random/random.hpp"
#include "kernels/ops/reduce/reduce.hpp"
#include "kernels/ops/rotary/rotary.hpp"
#include "kernels/ops/sinkhorn/sinkhorn.hpp"
#include "kernels/ops/softcap/softcap.hpp"
#include "kernels/ops/softmax_xent/softmax_xent.hpp"
#include "kernels/ops/top_tokens/top_tokens.hpp"

/// The table through which operations reach a device: a row for each, in the order of the folders.
namespace sy::ops {

// Types of those whose name has a shorter form as well.
using AddBias = void(ConstTensorRef x, ConstTensorRef bias, TensorRef y, const Context&);
using BiasBackward = void(ConstTensorRef dy, std::span<const index_t> blocks, GradientRef gradient,
                          const Context&);
using Add = void(ConstTensorRef x, ConstTensorRef z, TensorRef y, const Context&);
using Scale = void(float factor, ConstTensorRef x, TensorRef y, const Context&);
using SoftmaxXent = void(TensorRef logits, std::span<const std::int32_t> target, float scale, TensorRef loss,
                         const OutputZLoss& z, const Context&);

/// Every operation, as row(name, type): the one list that the table of bodies and those of all devices are made from.
// clang-format off
#define SY_OPERATIONS(row) \
    row(multiply, decltype(ops::multiply)) \
    row(add_weight_gradient, decltype(ops::add_weight_gradient)) \
    row(expert_ffn, decltype(ops::expert_ffn)) \
    row(expert_ffn_backward, decltype(ops::expert_ffn_backward)) \
    row(chosen_expert_ffn, decltype(ops::chosen_expert_ffn)) \
    row(norm, decltype(ops::norm)) \
    row(add_norm, decltype(ops::add_norm)) \
    row(norm_backward, decltype(ops::norm_backward)) \
    row(clip, decltype(ops::clip)) \
    row(clip_backward, decltype(ops::clip_backward)) \
    row(sigmoid, decltype(ops::sigmoid)) \
    row(sigmoid_backward, decltype(ops::sigmoid_backward)) \
    row(nonlinearity, decltype(ops::nonlinearity)) \
    row(nonlinearity_backward, decltype(ops::nonlinearity_backward)) \
    row(add_bias, AddBias) \
    row(bias_backward, BiasBackward) \
    row(rotary, decltype(ops::rotary)) \
    row(attention, decltype(ops::attention)) \
    row(attention_backward, decltype(ops::attention_backward)) \
    row(attention_decode, decltype(ops::attention_decode)) \
    row(spread_heads, decltype(ops::spread_heads)) \
    row(gather_heads, decltype(ops::gather_heads)) \
    row(embedding, decltype(ops::embedding)) \
    row(embedding_backward, decltype(ops::embedding_backward)) \
    row(add_positions, decltype(ops::add_positions)) \
    row(sine_table, decltype(ops::sine_table)) \
    row(softmax_xent, SoftmaxXent) \
    row(gate_scores, decltype(ops::gate_scores)) \
    row(gate_top_k, decltype(ops::gate_top_k)) \
    row(gate_limit_groups, decltype(ops::gate_limit_groups)) \
    row(gate_weights, decltype(ops::gate_weights)) \
    row(gate_draw_second, decltype(ops::gate_draw_second)) \
    row(routing_hash, decltype(ops::routing_hash)) \
    row(gate_backward, decltype(ops::gate_backward)) \
    row(gather_rows, decltype(ops::gather_rows)) \
    row(scatter_rows, decltype(ops::scatter_rows)) \
    row(sum_rows, decltype(ops::sum_rows)) \
    row(quantize_rows, decltype(ops::quantize_rows)) \
    row(dequantize_rows, decltype(ops::dequantize_rows)) \
    row(adamw, decltype(ops::adamw)) \
    row(cast, decltype(ops::cast)) \
    row(copy, decltype(ops::copy)) \
    row(fill, decltype(ops::fill)) \
    row(clear, decltype(ops::clear)) \
    row(row_sums_of_squares, decltype(ops::row_sums_of_squares)) \
    row(add_in_order, decltype(ops::add_in_order)) \
    row(round_fixed_point, decltype(ops::round_fixed_point)) \
    row(add, Add) \
    row(scale, Scale) \
    row(scale_rows, decltype(ops::scale_rows)) \
    row(fill_normal, decltype(ops::fill_normal)) \
    row(fill_gumbel, decltype(ops::fill_gumbel)) \
    row(jitter, decltype(ops::jitter)) \
    row(dropout, decltype(ops::dropout)) \
    row(dropout_rows, decltype(ops::dropout_rows)) \
    row(soft_cap, decltype(ops::soft_cap)) \
    row(soft_cap_backward, decltype(ops::soft_cap_backward)) \
    row(normal_cdf, decltype(ops::normal_cdf)) \
    row(normal_density, decltype(ops::normal_density)) \
    row(learned_noise, decltype(ops::learned_noise)) \
    row(learned_noise_backward, decltype(ops::learned_noise_backward)) \
    row(share_sums, decltype(ops::share_sums)) \
    row(choice_sums, decltype(ops::choice_sums)) \
    row(add_to_choices, decltype(ops::add_to_choices)) \
    row(count_reached, decltype(ops::count_reached)) \
    row(square_sum, decltype(ops::square_sum)) \
    row(add_scaled, decltype(ops::add_scaled)) \
    row(sequence_frequencies, decltype(ops::sequence_frequencies)) \
    row(sequence_sum, decltype(ops::sequence_sum)) \
    row(sequence_backward, decltype(ops::sequence_backward)) \
    row(chance_distances, decltype(ops::chance_distances)) \
    row(chance_backward, decltype(ops::chance_backward)) \
    row(policy_keys, decltype(ops::policy_keys)) \
    row(policy_advantage, decltype(ops::policy_advantage)) \
    row(policy_baseline_backward, decltype(ops::policy_baseline_backward)) \
    row(policy_backward, decltype(ops::policy_backward)) \
    row(sinkhorn_powers, decltype(ops::sinkhorn_powers)) \
    row(sinkhorn_columns, decltype(ops::sinkhorn_columns)) \
    row(sinkhorn_log_plan, decltype(ops::sinkhorn_log_plan)) \
    row(count_key_digits, decltype(ops::count_key_digits)) \
    row(take_top_tokens, decltype(ops::take_top_tokens)) \
    row(list_takers, decltype(ops::list_takers))
// clang-format on

/// The bodies of all operations on one kind of device, with the contract of the function of the same name. What that
/// function has checked, a body need not. A null row is an operation that the device lacks, which it refuses to start
/// with.
struct Bodies {
#define SY_ROW(name, type) type* name = nullptr;
    SY_OPERATIONS(SY_ROW)
#undef SY_ROW
};

/// Calls visit.operator()<&Bodies::name>("name") for each row.
template <class Visit>
void for_each_operation(Visit visit) {
#define SY_ROW(name, type) visit.template operator()<&Bodies::name>(#name);
    SY_OPERATIONS(SY_ROW)
#undef SY_ROW
}

}  // namespace sy::ops
