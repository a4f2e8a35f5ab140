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

/// The bodies of all operations on one kind of device, with the contract of the function of the same name. What that
/// function has checked, a body need not. A null row is an operation that the device lacks, which it refuses to start
/// with.
struct Bodies {
    decltype(ops::multiply)* multiply = nullptr;
    decltype(ops::add_weight_gradient)* add_weight_gradient = nullptr;
    decltype(ops::expert_ffn)* expert_ffn = nullptr;
    decltype(ops::expert_ffn_backward)* expert_ffn_backward = nullptr;
    decltype(ops::norm)* norm = nullptr;
    decltype(ops::add_norm)* add_norm = nullptr;
    decltype(ops::norm_backward)* norm_backward = nullptr;
    decltype(ops::clip)* clip = nullptr;
    decltype(ops::clip_backward)* clip_backward = nullptr;
    decltype(ops::sigmoid)* sigmoid = nullptr;
    decltype(ops::sigmoid_backward)* sigmoid_backward = nullptr;
    decltype(ops::nonlinearity)* nonlinearity = nullptr;
    decltype(ops::nonlinearity_backward)* nonlinearity_backward = nullptr;
    AddBias* add_bias = nullptr;
    BiasBackward* bias_backward = nullptr;
    decltype(ops::rotary)* rotary = nullptr;
    decltype(ops::attention)* attention = nullptr;
    decltype(ops::attention_backward)* attention_backward = nullptr;
    decltype(ops::attention_decode)* attention_decode = nullptr;
    decltype(ops::spread_heads)* spread_heads = nullptr;
    decltype(ops::gather_heads)* gather_heads = nullptr;
    decltype(ops::embedding)* embedding = nullptr;
    decltype(ops::embedding_backward)* embedding_backward = nullptr;
    decltype(ops::add_positions)* add_positions = nullptr;
    decltype(ops::sine_table)* sine_table = nullptr;
    SoftmaxXent* softmax_xent = nullptr;
    decltype(ops::gate_scores)* gate_scores = nullptr;
    decltype(ops::gate_top_k)* gate_top_k = nullptr;
    decltype(ops::gate_limit_groups)* gate_limit_groups = nullptr;
    decltype(ops::gate_weights)* gate_weights = nullptr;
    decltype(ops::gate_draw_second)* gate_draw_second = nullptr;
    decltype(ops::routing_hash)* routing_hash = nullptr;
    decltype(ops::gate_backward)* gate_backward = nullptr;
    decltype(ops::gather_rows)* gather_rows = nullptr;
    decltype(ops::sum_rows)* sum_rows = nullptr;
    decltype(ops::quantize_rows)* quantize_rows = nullptr;
    decltype(ops::dequantize_rows)* dequantize_rows = nullptr;
    decltype(ops::adamw)* adamw = nullptr;
    decltype(ops::cast)* cast = nullptr;
    decltype(ops::copy)* copy = nullptr;
    decltype(ops::fill)* fill = nullptr;
    decltype(ops::clear)* clear = nullptr;
    decltype(ops::row_sums_of_squares)* row_sums_of_squares = nullptr;
    decltype(ops::add_in_order)* add_in_order = nullptr;
    decltype(ops::round_fixed_point)* round_fixed_point = nullptr;
    Add* add = nullptr;
    Scale* scale = nullptr;
    decltype(ops::scale_rows)* scale_rows = nullptr;
    decltype(ops::fill_normal)* fill_normal = nullptr;
    decltype(ops::fill_gumbel)* fill_gumbel = nullptr;
    decltype(ops::jitter)* jitter = nullptr;
    decltype(ops::dropout)* dropout = nullptr;
    decltype(ops::dropout_rows)* dropout_rows = nullptr;
    decltype(ops::soft_cap)* soft_cap = nullptr;
    decltype(ops::soft_cap_backward)* soft_cap_backward = nullptr;
    decltype(ops::normal_cdf)* normal_cdf = nullptr;
    decltype(ops::normal_density)* normal_density = nullptr;
    decltype(ops::learned_noise)* learned_noise = nullptr;
    decltype(ops::learned_noise_backward)* learned_noise_backward = nullptr;
    decltype(ops::share_sums)* share_sums = nullptr;
    decltype(ops::choice_sums)* choice_sums = nullptr;
    decltype(ops::add_to_choices)* add_to_choices = nullptr;
    decltype(ops::count_reached)* count_reached = nullptr;
    decltype(ops::square_sum)* square_sum = nullptr;
    decltype(ops::add_scaled)* add_scaled = nullptr;
    decltype(ops::sequence_frequencies)* sequence_frequencies = nullptr;
    decltype(ops::sequence_sum)* sequence_sum = nullptr;
    decltype(ops::sequence_backward)* sequence_backward = nullptr;
    decltype(ops::chance_distances)* chance_distances = nullptr;
    decltype(ops::chance_backward)* chance_backward = nullptr;
    decltype(ops::policy_keys)* policy_keys = nullptr;
    decltype(ops::policy_advantage)* policy_advantage = nullptr;
    decltype(ops::policy_baseline_backward)* policy_baseline_backward = nullptr;
    decltype(ops::policy_backward)* policy_backward = nullptr;
    decltype(ops::sinkhorn_powers)* sinkhorn_powers = nullptr;
    decltype(ops::sinkhorn_columns)* sinkhorn_columns = nullptr;
    decltype(ops::sinkhorn_log_plan)* sinkhorn_log_plan = nullptr;
    decltype(ops::count_key_digits)* count_key_digits = nullptr;
    decltype(ops::take_top_tokens)* take_top_tokens = nullptr;
    decltype(ops::list_takers)* list_takers = nullptr;
};

/// Calls visit.operator()<&Bodies::name>("name") for each row.
template <class Visit>
void for_each_operation(Visit visit) {
    visit.template operator()<&Bodies::multiply>("multiply");
    visit.template operator()<&Bodies::add_weight_gradient>("add_weight_gradient");
    visit.template operator()<&Bodies::expert_ffn>("expert_ffn");
    visit.template operator()<&Bodies::expert_ffn_backward>("expert_ffn_backward");
    visit.template operator()<&Bodies::norm>("norm");
    visit.template operator()<&Bodies::add_norm>("add_norm");
    visit.template operator()<&Bodies::norm_backward>("norm_backward");
    visit.template operator()<&Bodies::clip>("clip");
    visit.template operator()<&Bodies::clip_backward>("clip_backward");
    visit.template operator()<&Bodies::sigmoid>("sigmoid");
    visit.template operator()<&Bodies::sigmoid_backward>("sigmoid_backward");
    visit.template operator()<&Bodies::nonlinearity>("nonlinearity");
    visit.template operator()<&Bodies::nonlinearity_backward>("nonlinearity_backward");
    visit.template operator()<&Bodies::add_bias>("add_bias");
    visit.template operator()<&Bodies::bias_backward>("bias_backward");
    visit.template operator()<&Bodies::rotary>("rotary");
    visit.template operator()<&Bodies::attention>("attention");
    visit.template operator()<&Bodies::attention_backward>("attention_backward");
    visit.template operator()<&Bodies::attention_decode>("attention_decode");
    visit.template operator()<&Bodies::spread_heads>("spread_heads");
    visit.template operator()<&Bodies::gather_heads>("gather_heads");
    visit.template operator()<&Bodies::embedding>("embedding");
    visit.template operator()<&Bodies::embedding_backward>("embedding_backward");
    visit.template operator()<&Bodies::add_positions>("add_positions");
    visit.template operator()<&Bodies::sine_table>("sine_table");
    visit.template operator()<&Bodies::softmax_xent>("softmax_xent");
    visit.template operator()<&Bodies::gate_scores>("gate_scores");
    visit.template operator()<&Bodies::gate_top_k>("gate_top_k");
    visit.template operator()<&Bodies::gate_limit_groups>("gate_limit_groups");
    visit.template operator()<&Bodies::gate_weights>("gate_weights");
    visit.template operator()<&Bodies::gate_draw_second>("gate_draw_second");
    visit.template operator()<&Bodies::routing_hash>("routing_hash");
    visit.template operator()<&Bodies::gate_backward>("gate_backward");
    visit.template operator()<&Bodies::gather_rows>("gather_rows");
    visit.template operator()<&Bodies::sum_rows>("sum_rows");
    visit.template operator()<&Bodies::quantize_rows>("quantize_rows");
    visit.template operator()<&Bodies::dequantize_rows>("dequantize_rows");
    visit.template operator()<&Bodies::adamw>("adamw");
    visit.template operator()<&Bodies::cast>("cast");
    visit.template operator()<&Bodies::copy>("copy");
    visit.template operator()<&Bodies::fill>("fill");
    visit.template operator()<&Bodies::clear>("clear");
    visit.template operator()<&Bodies::row_sums_of_squares>("row_sums_of_squares");
    visit.template operator()<&Bodies::add_in_order>("add_in_order");
    visit.template operator()<&Bodies::round_fixed_point>("round_fixed_point");
    visit.template operator()<&Bodies::add>("add");
    visit.template operator()<&Bodies::scale>("scale");
    visit.template operator()<&Bodies::scale_rows>("scale_rows");
    visit.template operator()<&Bodies::fill_normal>("fill_normal");
    visit.template operator()<&Bodies::fill_gumbel>("fill_gumbel");
    visit.template operator()<&Bodies::jitter>("jitter");
    visit.template operator()<&Bodies::dropout>("dropout");
    visit.template operator()<&Bodies::dropout_rows>("dropout_rows");
    visit.template operator()<&Bodies::soft_cap>("soft_cap");
    visit.template operator()<&Bodies::soft_cap_backward>("soft_cap_backward");
    visit.template operator()<&Bodies::normal_cdf>("normal_cdf");
    visit.template operator()<&Bodies::normal_density>("normal_density");
    visit.template operator()<&Bodies::learned_noise>("learned_noise");
    visit.template operator()<&Bodies::learned_noise_backward>("learned_noise_backward");
    visit.template operator()<&Bodies::share_sums>("share_sums");
    visit.template operator()<&Bodies::choice_sums>("choice_sums");
    visit.template operator()<&Bodies::add_to_choices>("add_to_choices");
    visit.template operator()<&Bodies::count_reached>("count_reached");
    visit.template operator()<&Bodies::square_sum>("square_sum");
    visit.template operator()<&Bodies::add_scaled>("add_scaled");
    visit.template operator()<&Bodies::sequence_frequencies>("sequence_frequencies");
    visit.template operator()<&Bodies::sequence_sum>("sequence_sum");
    visit.template operator()<&Bodies::sequence_backward>("sequence_backward");
    visit.template operator()<&Bodies::chance_distances>("chance_distances");
    visit.template operator()<&Bodies::chance_backward>("chance_backward");
    visit.template operator()<&Bodies::policy_keys>("policy_keys");
    visit.template operator()<&Bodies::policy_advantage>("policy_advantage");
    visit.template operator()<&Bodies::policy_baseline_backward>("policy_baseline_backward");
    visit.template operator()<&Bodies::policy_backward>("policy_backward");
    visit.template operator()<&Bodies::sinkhorn_powers>("sinkhorn_powers");
    visit.template operator()<&Bodies::sinkhorn_columns>("sinkhorn_columns");
    visit.template operator()<&Bodies::sinkhorn_log_plan>("sinkhorn_log_plan");
    visit.template operator()<&Bodies::count_key_digits>("count_key_digits");
    visit.template operator()<&Bodies::take_top_tokens>("take_top_tokens");
    visit.template operator()<&Bodies::list_takers>("list_takers");
}

}  // namespace sy::ops
