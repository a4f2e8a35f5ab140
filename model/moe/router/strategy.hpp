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

struct LayerContext;
struct LayerKey;
struct RouterGradients;

/// In a list of choices: none here.
inline constexpr std::int32_t kNoExpert = -1;

/// What a router decided for T tokens, before capacity. K may differ between passes and ranks.
struct Routing {
    Tensor input;   ///< [T, H] f32 what the logits were computed from, when that is not the layer's input
    Tensor logits;  ///< [T, E] f32, noise included; empty if the strategy does not use logits
    Tensor scores;  ///< [T, E] f32; empty as the logits
    Score score = Score::softmax;  ///< the kind of the scores
    Tensor lse;                    ///< [T] f32 logsumexp of the logits; empty as the logits
    /// With learned noise, logits = clean + noise * noise_scale; [T, E] each, otherwise empty.
    Tensor clean, noise, noise_scale;
    Tensor expert;  ///< [T, K] i32, best first; kNoExpert where a token has fewer
    Tensor weight;  ///< [T, K] f32 combine weights; 0 at kNoExpert
    /// [T, K] i32 the choices that go out, kNoExpert for those that do not; empty: all of `expert`.
    Tensor dispatched;

    const Tensor& sent() const { return dispatched.empty() ? expert : dispatched; }
};

/// [T, K] i32 the highest scores of each token, best first; equal scores: the lower expert. @param scores  [T, E] f32
Tensor highest_scores(ConstTensorRef scores, index_t top_k, const Context& context);

/// What a strategy chooses by.
struct ChoiceInput {
    ConstTensorRef logits;  ///< [T, E] f32, noise included; null unless uses_logits()
    ConstTensorRef scores;  ///< [T, E] f32; null as the logits
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

/// What is fixed before the first step: for strategies that choose by a table.
struct TableInput {
    index_t vocab_size = 0;
    index_t layer_idx = 0;
    std::uint64_t seed = 0;
    std::span<const index_t> counts;  ///< [V] how often each token id occurs; empty: not known
};

class RoutingStrategy {
  public:
    explicit RoutingStrategy(const WeightRule& weights) : weights_(weights) {}
    virtual ~RoutingStrategy() = default;

    /// Experts of each token, [T, K] i32, best first, kNoExpert where a token has fewer: a constant in backward.
    /// A function of the global batch alone. @par Collective over the world where the rule is global
    virtual Tensor choose(const ChoiceInput& in, const Context& context) const = 0;
    const WeightRule& weights() const { return weights_; }
    /// Whether it looks at logits; without, the router has no parameters, and its input no gradient from it.
    virtual bool uses_logits() const { return true; }

    /// Finds what the strategy learns besides the router's weights; called once. @param key  the mixture of a block
    virtual void find_parameters(LayerContext& /*shared*/, const LayerKey& /*key*/) {}
    /// In backward of a training pass: adds gradients that come through neither weights nor losses, and completes
    /// those of the strategy's own parameters.
    /// @param x  [T, H] the layer's input
    virtual void add_gradient(ConstTensorRef /*x*/, const Routing& /*routing*/, const PassInfo& /*pass*/,
                              RouterGradients& /*gradients*/, const Context& /*context*/) const {}

    /// Makes what choices are looked up in, if anything. Called when a model is built, without counts, and again when
    /// they are known; what checkpoints hold replaces it.
    virtual void make_table(const TableInput& /*in*/) {}

    /// What the strategy carries from step to step, [E], a table, or empty; saved in checkpoints.
    virtual std::span<double> state() { return {}; }
    /// After an optimizer step. @param load  [E] choices of the step over all ranks, before drops
    virtual void finish_step(std::span<const index_t> /*load*/) {}

  private:
    WeightRule weights_;
};

/// The K highest scores, with DeepSeek-V3's selection bias if balance.bias_rate > 0; equal scores: the lower expert.
/// @par Source  Shazeer et al., arXiv:1701.06538; Fedus et al., arXiv:2101.03961; DeepSeek-V3, arXiv:2412.19437
std::unique_ptr<RoutingStrategy> make_top_k(const MoeConfig& config);

/// Every expert takes the kappa = ceil(T * top_k / E) tokens of the global batch with the highest softmax scores, of
/// equal ones the lower tokens; the weight is the score. A token has any number of experts, also none. Choices depend
/// on later tokens, so a pass that generates is refused with ConfigError.
/// @par Collective  over the world; K of a pass is the largest number of experts of any token on this rank, at least 1
/// @par Cost        four all-reduces of E * 256 64-bit counts and one exscan of E: no score leaves its rank
/// @par Source      Zhou et al., "Mixture-of-experts with expert choice routing", arXiv:2202.09368, section 3
std::unique_ptr<RoutingStrategy> make_expert_choice(const MoeConfig& config);

/// In training the balanced assignment with the highest sum of logits (auction.hpp) over the global batch: every expert
/// takes T / E tokens, the lower T mod E one more. Otherwise the highest logit. One expert a token; the weight is the
/// sigmoid of its logit.
/// @par Collective  over the world; every rank gathers all logits, T_global * E * 4 bytes, and solves the same problem
/// @par Source      Lewis et al., "BASE layers", arXiv:2103.16716, sections 3.1 and 3.2
std::unique_ptr<RoutingStrategy> make_base(const MoeConfig& config);

/// In training the top_k highest entries of each row of the balanced plan of exp(logits) (sinkhorn.hpp) over the global
/// batch; otherwise the highest logits. The weight is the sigmoid of the logit for one expert, its softmax over all
/// experts for several.
/// @par Collective  over the world, see sinkhorn_log_factors
/// @par Source      Clark et al., arXiv:2202.01169, section 3 (S-BASE)
std::unique_ptr<RoutingStrategy> make_sinkhorn(const MoeConfig& config);

/// The router is a policy pi = softmax(logits), and the experts are its actions: in training drawn one after another
/// without replacement (the largest of logits plus Gumbel noise, a Plackett-Luce draw), otherwise the highest logits.
/// Experts weigh 1, so that no gradient comes through the weights. The reward of a token is the log-probability of its
/// target, r = -token_loss. Minimised, besides what the losses say, is the mean over the global batch of
///   -(r - b) log pi(draws) - entropy_bonus * H(pi) + baseline_loss * (b - r)^2,   b = x w + c,
/// where r - b is a constant in the first term and x in the last: the logits learn from the first two, w and c from the
/// last. These terms are not part of the reported loss, because rewards are known only in the backward pass.
/// @par Source  Clark et al., arXiv:2202.01169, section 3 (RL-R); Williams, REINFORCE (1992); draws: Kool et al.,
///              "Stochastic beams and where to find them", arXiv:1903.06059
std::unique_ptr<RoutingStrategy> make_reinforce(const MoeConfig& config);
/// The K highest scores in the moe.group_limit groups of highest score, all with the selection bias: a group's score is
/// its best expert's (V2) or the sum of its best K / group_limit (V3).
/// @par Source  DeepSeek-V2, arXiv:2405.04434, 2.2.2; DeepSeek-V3, arXiv:2412.19437, 2.1.2
std::unique_ptr<RoutingStrategy> make_group_limited(const MoeConfig& config);

/// Fixed experts for every token id: no logits, no parameters, no gradient. Every choice weighs routed_scale / K, so that
/// a single expert weighs 1 as in the paper. Each layer has a table of its own:
///   random    K different experts drawn for each id, a function of (seed, layer, id) alone;
///   balanced  ids in order of falling count, equal ones in their own order, go to the K experts with the least load so
///             far, equal ones to the lower. The same in every layer. Ids that do not occur add no load.
/// The table is the strategy's state [V * K], so that a run resumes without the text. A balanced table that
/// was given no counts is all kNoExpert, and a pass with it is refused with ConfigError.
/// @par Source  Roller et al., "Hash layers for large sparse models", arXiv:2106.04426, section 3.1
std::unique_ptr<RoutingStrategy> make_hash(const MoeConfig& config);

/// Keys of moe.router.
std::vector<std::string> router_names();
/// @throws ConfigError naming the known keys
void require_router(const std::string& router);
/// @throws ConfigError as require_router
std::unique_ptr<RoutingStrategy> make_strategy(const MoeConfig& config);

}  // namespace sy::model
