#pragma once

#include "kernels/ops/bodies.hpp"

/// The bodies of CUDA: each is in the folder of its operation, in a file that ends in .cu.
namespace sy::ops {
namespace on_cuda {

decltype(ops::multiply) multiply;
decltype(ops::add_weight_gradient) add_weight_gradient;
decltype(ops::expert_ffn) expert_ffn;
decltype(ops::expert_ffn_backward) expert_ffn_backward;
decltype(ops::norm) norm;
decltype(ops::add_norm) add_norm;
decltype(ops::norm_backward) norm_backward;
decltype(ops::clip) clip;
decltype(ops::clip_backward) clip_backward;
decltype(ops::sigmoid) sigmoid;
decltype(ops::sigmoid_backward) sigmoid_backward;
decltype(ops::nonlinearity) nonlinearity;
decltype(ops::nonlinearity_backward) nonlinearity_backward;
AddBias add_bias;
BiasBackward bias_backward;
decltype(ops::rotary) rotary;
decltype(ops::attention) attention;
decltype(ops::attention_backward) attention_backward;
decltype(ops::attention_decode) attention_decode;
decltype(ops::spread_heads) spread_heads;
decltype(ops::gather_heads) gather_heads;
decltype(ops::embedding) embedding;
decltype(ops::embedding_backward) embedding_backward;
decltype(ops::add_positions) add_positions;
decltype(ops::sine_table) sine_table;
SoftmaxXent softmax_xent;
decltype(ops::gate_scores) gate_scores;
decltype(ops::gate_top_k) gate_top_k;
decltype(ops::gate_limit_groups) gate_limit_groups;
decltype(ops::gate_weights) gate_weights;
decltype(ops::gate_draw_second) gate_draw_second;
decltype(ops::routing_hash) routing_hash;
decltype(ops::gate_backward) gate_backward;
decltype(ops::gather_rows) gather_rows;
decltype(ops::sum_rows) sum_rows;
decltype(ops::quantize_rows) quantize_rows;
decltype(ops::dequantize_rows) dequantize_rows;
decltype(ops::adamw) adamw;
decltype(ops::cast) cast;
decltype(ops::copy) copy;
decltype(ops::fill) fill;
decltype(ops::clear) clear;
decltype(ops::row_sums_of_squares) row_sums_of_squares;
decltype(ops::add_in_order) add_in_order;
decltype(ops::round_fixed_point) round_fixed_point;
Add add;
Scale scale;
decltype(ops::scale_rows) scale_rows;
decltype(ops::fill_normal) fill_normal;
decltype(ops::fill_gumbel) fill_gumbel;
decltype(ops::jitter) jitter;
decltype(ops::dropout) dropout;
decltype(ops::dropout_rows) dropout_rows;
decltype(ops::soft_cap) soft_cap;
decltype(ops::soft_cap_backward) soft_cap_backward;
decltype(ops::normal_cdf) normal_cdf;
decltype(ops::normal_density) normal_density;
decltype(ops::learned_noise) learned_noise;
decltype(ops::learned_noise_backward) learned_noise_backward;
decltype(ops::share_sums) share_sums;
decltype(ops::choice_sums) choice_sums;
decltype(ops::add_to_choices) add_to_choices;
decltype(ops::count_reached) count_reached;
decltype(ops::square_sum) square_sum;
decltype(ops::add_scaled) add_scaled;
decltype(ops::sequence_frequencies) sequence_frequencies;
decltype(ops::sequence_sum) sequence_sum;
decltype(ops::sequence_backward) sequence_backward;
decltype(ops::chance_distances) chance_distances;
decltype(ops::chance_backward) chance_backward;
decltype(ops::policy_keys) policy_keys;
decltype(ops::policy_advantage) policy_advantage;
decltype(ops::policy_baseline_backward) policy_baseline_backward;
decltype(ops::policy_backward) policy_backward;
decltype(ops::sinkhorn_powers) sinkhorn_powers;
decltype(ops::sinkhorn_columns) sinkhorn_columns;
decltype(ops::sinkhorn_log_plan) sinkhorn_log_plan;
decltype(ops::count_key_digits) count_key_digits;
decltype(ops::take_top_tokens) take_top_tokens;
decltype(ops::list_takers) list_takers;

}  // namespace on_cuda

extern const Bodies kCudaBodies;

}  // namespace sy::ops
