#pragma once

#include <cstdint>
#include <span>

#include "kernels/core/context.hpp"
#include "kernels/core/philox.hpp"
#include "kernels/core/tensor_ref.hpp"

/// A router as a policy pi = softmax(logits) whose actions are K experts a token, drawn one after another without
/// replacement. T tokens, E experts, H hidden; f32 unless stated. Arithmetic is in double, rounded once.
/// All functions throw ShapeError when sides do not fit.
/// @par Source  Clark et al., arXiv:2202.01169, section 3 (RL-R); Williams, REINFORCE (1992); draws: Kool et al.,
///              "Stochastic beams and where to find them", arXiv:1903.06059
namespace sy::ops {

/// keys = logits + a standard Gumbel number of element (first_token + t) * E + e: the K largest keys of a token are its
/// draws, in order. @param logits, keys  [T, E]; may be the same
void policy_keys(ConstTensorRef logits, const RandomKey& key, index_t first_token, TensorRef keys,
                 const Context& context);

/// What a token's reward is compared with: b = offset + x . slope; the reward is -token_loss.
struct PolicyBaseline {
    ConstTensorRef x;           ///< [T, H]
    ConstTensorRef slope;       ///< [H, 1]
    ConstTensorRef offset;      ///< [1]
    ConstTensorRef token_loss;  ///< [T]
};
/// advantage[t] = reward - b, added up in the order of x's columns. @param advantage  [T] f64
void policy_advantage(const PolicyBaseline& in, TensorRef advantage, const Context& context);

/// dbaseline[t] = factor * advantage[t]. @param advantage  [T] f64  @param dbaseline  [T]
void policy_baseline_backward(double factor, ConstTensorRef advantage, TensorRef dbaseline,
                              const Context& context);

/// What is minimised: share * sum_t (-advantage * log pi(draws) - entropy_bonus * H(pi)); the advantage is a constant.
struct PolicyLoss {
    ConstTensorRef logits;     ///< [T, E]
    ConstTensorRef lse;        ///< [T] logsumexp of the logits
    ConstTensorRef draws;      ///< [T, K] i32, in the order drawn
    ConstTensorRef advantage;  ///< [T] f64
    double share = 1.0;
    double entropy_bonus = 0.0;
};
/// dlogits += its gradient. @param dlogits  [T, E]
void policy_backward(const PolicyLoss& in, TensorRef dlogits, const Context& context);

namespace ref {
/// The loss itself, of logits in double. @param logits  [T * E]
double policy_loss(const PolicyLoss& in, std::span<const double> logits);
}  // namespace ref

}  // namespace sy::ops
