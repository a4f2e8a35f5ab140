#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "comm/communicator.hpp"
#include "kernels/core/context.hpp"
#include "kernels/core/tensor.hpp"
#include "model/config.hpp"
#include "model/pass.hpp"

/// How tokens and experts find each other: one file a strategy. T tokens on this rank, E experts, K choices a token.
namespace sy::model {

/// In a list of choices: none here.
inline constexpr std::int32_t kNoExpert = -1;

/// What a router decided for T tokens, before capacity. K may differ between passes and ranks.
struct Routing {
    Tensor input;   ///< [T, H] f32 what the logits were computed from, when that is not the layer's input
    Tensor logits;  ///< [T, E] f32, noise included
    Tensor scores;  ///< [T, E] f32
    Tensor lse;     ///< [T] f32 logsumexp of the logits
    Tensor expert;  ///< [T, K] i32, best first; kNoExpert where a token has fewer
    Tensor weight;  ///< [T, K] f32 combine weights; 0 at kNoExpert
};

/// What a strategy chooses by.
struct ChoiceInput {
    MatrixView<const float> logits;  ///< [T, E], noise included
    MatrixView<const float> scores;  ///< [T, E]
    const PassInfo& pass;
    index_t layer_idx;
    comm::Communicator& world;
};

/// How combine weights follow from scores.
struct WeightRule {
    Score score = Score::softmax;
    bool scaled_by_score = true;  ///< false: every choice weighs 1 and the gate gets no gradient through it
    bool renormalise = true;      ///< divide the chosen scores by their sum
    double scale = 1.0;
};

class RoutingStrategy {
  public:
    virtual ~RoutingStrategy() = default;

    /// Experts of each token, [T, K] i32, best first, kNoExpert where a token has fewer: a constant on the way back.
    /// A function of the global batch alone. @par Collective over the world where the rule is global
    virtual Tensor choose(const ChoiceInput& in, const Context& context) const = 0;
    virtual WeightRule weights() const = 0;
    /// Whether it looks at logits; without, the router has no parameters.
    virtual bool uses_logits() const { return true; }

    /// What the strategy carries from step to step, [E] or empty; saved in checkpoints.
    virtual std::span<double> state() { return {}; }
    /// After an optimizer step. @param load  [E] choices of the step over all ranks, before drops
    virtual void finish_step(std::span<const index_t> load) { static_cast<void>(load); }
};

/// The K highest scores, with DeepSeek-V3's selection bias if balance.bias_rate > 0; equal scores: the lower expert.
/// @par Source  Shazeer et al., arXiv:1701.06538; Fedus et al., arXiv:2101.03961; DeepSeek-V3, arXiv:2412.19437
std::unique_ptr<RoutingStrategy> make_top_k(const MoeConfig& config);

/// The K highest scores in the moe.group_limit groups of highest score, all with the selection bias: a group's score is
/// its best expert's (V2) or the sum of its best K / group_limit (V3).
/// @par Source  DeepSeek-V2, arXiv:2405.04434, 2.2.2; DeepSeek-V3, arXiv:2412.19437, 2.1.2
std::unique_ptr<RoutingStrategy> make_group_limited(const MoeConfig& config);

/// Keys of moe.router.
std::vector<std::string> router_names();
/// @throws ConfigError naming the known keys
std::unique_ptr<RoutingStrategy> make_strategy(const MoeConfig& config);

}  // namespace sy::model
