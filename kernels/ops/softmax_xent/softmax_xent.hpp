#pragma once

#include <cstdint>
#include <span>

#include "kernels/core/context.hpp"
#include "kernels/core/tensor.hpp"

namespace sy::ops {

/// Cross entropy of rows of logits, and its gradient in place of them: the caller feeds a few rows at a time,
/// so that neither logits nor probabilities of all tokens ever exist together.
/// loss[t] = logsumexp(logits[t]) - logits[t, target[t]];  logits[t, v] becomes scale * (softmax - [v == target]).
/// @param logits  [T, V], overwritten with the gradient when scale != 0, left as it is when scale == 0
/// @param target  [T] in [0, V), or -1 for a position that does not count: loss 0, gradient 0
/// @param scale   weight of one token in the total loss (1 / tokens of the global batch)
void softmax_xent(MatrixView<float> logits, std::span<const std::int32_t> target, float scale,
                  std::span<float> loss, const Context& context);

/// probabilities = softmax(logits / temperature) of one row, for sampling.
void softmax_row(std::span<const float> logits, float temperature, std::span<float> probabilities);

namespace ref {
void softmax_xent(MatrixView<float> logits, std::span<const std::int32_t> target, float scale,
                  std::span<float> loss);
}  // namespace ref

}  // namespace sy::ops
