#pragma once

#include <cstdint>
#include <span>

#include "kernels/core/context.hpp"
#include "kernels/core/philox.hpp"
#include "kernels/core/tensor.hpp"

/// A router as a policy pi = softmax(logits) whose actions are K experts a token, drawn one after another without
/// replacement. T tokens, E experts, H hidden. Arithmetic is in double, rounded once.
/// All functions throw ShapeError when sides do not fit.
/// @par Source  Clark et al., arXiv:2202.01169, section 3 (RL-R); Williams, REINFORCE (1992); draws: Kool et al.,
///              "Stochastic beams and where to find them", arXiv:1903.06059
namespace sy::ops {

/// keys = logits + a standard Gumbel number of element (first_token + t) * E + e: the K largest keys of a token are its
/// draws, in order. @param logits, keys  [T, E]; may be the same
void policy_keys(MatrixView<const float> logits, const RandomKey& key, index_t first_token,
                 MatrixView<float> keys, const Context& context);

/// What a token's reward is compared with: b = offset + x . slope; the reward is -token_loss.
struct PolicyBaseline {
    MatrixView<const float> x;          ///< [T, H]
    MatrixView<const float> slope;      ///< [H, 1]
    std::span<const float> offset;      ///< [1]
    std::span<const float> token_loss;  ///< [T]
};
/// advantage[t] = reward - b, added up in the order of x's columns. @param advantage  [T]
void policy_advantage(const PolicyBaseline& in, std::span<double> advantage, const Context& context);

/// dbaseline[t] = factor * advantage[t]. @param dbaseline  [T]
void policy_baseline_backward(double factor, std::span<const double> advantage, std::span<float> dbaseline,
                              const Context& context);

/// What is minimised: share * sum_t (-advantage * log pi(draws) - entropy_bonus * H(pi)); the advantage is a constant.
struct PolicyLoss {
    MatrixView<const float> logits;        ///< [T, E]
    std::span<const float> lse;            ///< [T] logsumexp of the logits
    MatrixView<const std::int32_t> draws;  ///< [T, K] in the order drawn
    std::span<const double> advantage;     ///< [T]
    double share = 1.0;
    double entropy_bonus = 0.0;
};
/// dlogits += its gradient. @param dlogits  [T, E]
void policy_backward(const PolicyLoss& in, MatrixView<float> dlogits, const Context& context);

namespace ref {
/// The loss itself, of logits in double. @param logits  [T * E]
double policy_loss(const PolicyLoss& in, std::span<const double> logits);
}  // namespace ref

}  // namespace sy::ops
