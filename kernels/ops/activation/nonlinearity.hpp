#pragma once

#include "kernels/core/types.hpp"
#include "kernels/ops/activation/kind.hpp"

/// The functions of kind.hpp on a piece of a row, before gating.
namespace sy::ops::detail {

/// Elements of a piece: they stay in the first-level cache between what reads, evaluates and writes them.
inline constexpr index_t kPieceElements = 512;

/// x[i] = f(x[i]).
/// @param count  a multiple of the vector's width
void evaluate(Activation kind, float* x, index_t count);

/// slope[i] = f'(x[i]) and x[i] = f(x[i]).
void evaluate_with_slope(Activation kind, float* x, float* slope, index_t count);

}  // namespace sy::ops::detail
