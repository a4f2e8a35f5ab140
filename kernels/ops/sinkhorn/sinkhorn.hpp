#pragma once

#include <span>

#include "kernels/core/context.hpp"
#include "kernels/core/exact_sum.hpp"
#include "kernels/core/tensor_ref.hpp"

/// One rank's rows of a plan that Sinkhorn's scaling makes even: plan[t, e] = r[t] factor[e] exp(x[t, e]) with rows that
/// sum to 1. T tokens, E experts; f32. Factors are made by the host, which adds up the columns of all ranks. All
/// functions throw ShapeError when sides do not fit.
/// @par Source  Clark et al., "Unified scaling laws for routed language models", arXiv:2202.01169, appendix on S-BASE;
///              Sinkhorn and Knopp (1967)
namespace sy::ops {

/// powers = e^(logits - the highest of the row); 0 where a logit is 87 below it. @param logits, powers  [T, E]
void sinkhorn_powers(ConstTensorRef logits, TensorRef powers, const Context& context);

/// sums[e] = the column of the plan, each entry rounded to a multiple of 2^-36. A row with a number that is not finite
/// has no place in the plan.
/// @param powers  [T, E]  @param factor  [E]  @param sums  [E, 4] i64, words of ExactSum
void sinkhorn_columns(ConstTensorRef powers, std::span<const double> factor, TensorRef sums,
                      const Context& context);

/// plan = logits + log_factor, the plan's logarithm up to a constant of the row: the same order, and nothing underflows.
/// In double, rounded once. @param logits, plan  [T, E]; may be the same  @param log_factor  [E]
void sinkhorn_log_plan(ConstTensorRef logits, std::span<const double> log_factor, TensorRef plan,
                       const Context& context);

namespace ref {
void sinkhorn_columns(MatrixView<const float> logits, std::span<const double> factor, std::span<double> sums);
}  // namespace ref

}  // namespace sy::ops
