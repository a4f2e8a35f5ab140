#pragma once

#include <cstdint>
#include <span>

#include "kernels/core/context.hpp"
#include "kernels/core/tensor.hpp"

/// Router scores and the choice of experts. T tokens, E experts, K choices a token. All float32.
namespace sy::ops {

/// scores = softmax over each row of logits; lse[t] = logsumexp of the row (for the z-loss).
/// @param logits, scores  [T, E]; may be the same
void gate_softmax(MatrixView<const float> logits, MatrixView<float> scores, std::span<float> lse,
                  const Context& context);

enum class Renormalise { no, yes };

/// The K highest scores of each row, highest first; equal scores: the lower expert first.
/// @param expert  [T, K]
/// @param weight  [T, K] the chosen scores, divided by their sum when renormalising
void gate_top_k(MatrixView<const float> scores, Renormalise renormalise, MatrixView<std::int32_t> expert,
                MatrixView<float> weight, const Context& context);

/// Gradient of the logits from the gradient of the weights (through renormalisation and softmax) and from a
/// direct gradient of all scores (balance losses) and of the logsumexp (z-loss).
struct GateBackward {
    MatrixView<const float> scores;         ///< [T, E]
    MatrixView<const std::int32_t> expert;  ///< [T, K]
    MatrixView<const float> dweight;        ///< [T, K]
    Renormalise renormalise = Renormalise::yes;
    std::span<const float>
        dscore;                   ///< [E] the same for every token (Switch loss: coefficient * f_i), or empty
    std::span<const float> dlse;  ///< [T] gradient of logsumexp, or empty
};
void gate_backward(const GateBackward& in, MatrixView<float> dlogits, const Context& context);

namespace ref {
void gate_softmax(MatrixView<const float> logits, MatrixView<float> scores, std::span<float> lse);
void gate_top_k(MatrixView<const float> scores, Renormalise renormalise, MatrixView<std::int32_t> expert,
                MatrixView<float> weight);
void gate_backward(const GateBackward& in, MatrixView<float> dlogits);
}  // namespace ref

}  // namespace sy::ops
