#pragma once

#include <cstdint>
#include <span>

#include "kernels/core/context.hpp"
#include "kernels/core/tensor.hpp"

namespace sy::ops {

/// A second loss of the same rows, of the size of their logits: scale * lse^2 for each row that counts, with
/// lse = logsumexp(logits).
/// @par Source  PaLM, arXiv:2204.02311, section 5
struct OutputZLoss {
    float scale = 0.0F;  ///< weight of one token; 0 leaves the gradient without it
    TensorRef lse{};     ///< [T] f32 receives lse, 0 where a position does not count; null: not wanted
};

/// Cross entropy of rows of logits, and its gradient in place of them: the caller feeds a few rows at a time,
/// so that neither logits nor probabilities of all tokens ever exist together.
/// loss[t] = logsumexp(logits[t]) - logits[t, target[t]];  logits[t, v] becomes scale * (softmax - [v == target]) +
/// 2 * z.scale * lse * softmax.
/// @param logits  [T, V] f32, overwritten with the gradient when scale != 0, left as it is when scale == 0
/// @param target  [T] in [0, V), or -1 for a position that does not count: loss 0, gradient 0
/// @param scale   weight of one token in the total loss (1 / tokens of the global batch)
/// @param loss    [T] f32
/// @throws ShapeError when sizes differ or a target is no class
void softmax_xent(TensorRef logits, std::span<const std::int32_t> target, float scale, TensorRef loss,
                  const OutputZLoss& z, const Context& context);
/// The same without a z-loss.
void softmax_xent(TensorRef logits, std::span<const std::int32_t> target, float scale, TensorRef loss,
                  const Context& context);

/// probabilities = softmax(logits / temperature) of one row, for sampling.
/// @param logits         [V] of the host
/// @param temperature    > 0, however small
/// @param probabilities  [V] of the host
/// @throws ShapeError when sizes differ or there is no logit
void softmax_row(std::span<const float> logits, double temperature, std::span<float> probabilities);

namespace ref {
void softmax_xent(MatrixView<float> logits, std::span<const std::int32_t> target, float scale,
                  std::span<float> loss, const OutputZLoss& z = {});
}  // namespace ref

}  // namespace sy::ops
