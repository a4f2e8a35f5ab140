#pragma once

#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "kernels/core/exact_sum.hpp"
#include "kernels/core/indexed.hpp"
#include "kernels/ops/balance/balance.hpp"
#include "model/config.hpp"
#include "model/moe/router/router.hpp"

/// Losses that keep the load even and the router's logits small: one file a loss, and one for the two that count groups
/// of experts.
namespace sy::model {

/// What a loss sees of a layer's routing in one pass.
struct RoutedBatch {
    const Routing& routing;
    const PassInfo& pass;
    const Context& context;

    ConstTensorRef scores() const { return routing.scores; }
    ConstTensorRef choices() const { return routing.expert; }
    /// sums += the shares (ops::GateBackward) of each expert, or of equal runs of them. Losses take P_i from shares, so
    /// that each is 1 at even load whatever the scores, and none can be lowered by scaling all scores down.
    /// @param sums  [G, 4] i64
    void add_shares(TensorRef sums) const { ops::share_sums(routing.score, scores(), sums, context); }
    double global_tokens() const { return static_cast<double>(pass.batch.global_tokens); }
};

/// The sums of one loss, or of all of a layer one after another.
struct LossSumAxis;
using LossSums = IndexedSpan<LossSumAxis, const ExactSum>;

/// What the whole global batch adds up to.
struct LossTotals {
    PerExpertSpan<const index_t> load;  ///< [E] choices over all ranks, before drops
    /// [num_sums] over all ranks; in add_gradient only if the gradient needs them.
    LossSums sums;
    index_t global_tokens = 0;

    double num_tokens() const { return static_cast<double>(global_tokens); }
};

/// A loss beside the cross entropy: of the routers, of the head's logits, of multi-token prediction.
struct NamedLoss {
    std::string name;  ///< of a router's loss: its coefficient is the option balance.NAME
    double coefficient = 0.0;
    double value =
        0.0;  ///< before its coefficient, the same on every rank; NaN when it is the mean of nothing
    double weight = 1.0;  ///< of its value in the mean over the passes of a step: the number of targets, or 1
};

/// A function of a layer's global routing. Its value is a sum over the tokens of all ranks, so each rank adds up its
/// own exactly; its gradient flows to scores and logits, never to the choice.
class RouterLoss {
  public:
    struct Traits {
        std::string name;  ///< the option of its coefficient is "balance.NAME"
        double coefficient;
        index_t num_sums;
        /// Whether add_gradient needs the sums of all ranks: they are then reduced in the forward pass.
        bool gradient_needs_sums = false;
    };
    explicit RouterLoss(Traits traits) : traits_(std::move(traits)) {}
    virtual ~RouterLoss() = default;

    const std::string& name() const { return traits_.name; }
    double coefficient() const { return traits_.coefficient; }
    index_t num_sums() const { return traits_.num_sums; }
    bool gradient_needs_sums() const { return traits_.gradient_needs_sums; }

    /// Adds this rank's tokens. @param sums  [num_sums, 4] i64, words of exact sums (kernels/ops/balance)
    virtual void add_sums(const RoutedBatch& routed, TensorRef sums) const = 0;
    /// Before its coefficient, the same on every rank.
    virtual double value(const LossTotals& totals) const = 0;
    /// @param scale  coefficient over the micro-steps of a step
    virtual void add_gradient(const RoutedBatch& routed, const LossTotals& totals, double scale,
                              RouterGradients& gradients) const = 0;

  private:
    Traits traits_;
};

/// gradients.share[e] += share(e) for each of the E experts. @param share  index_t -> double, rounded once
template <class Share>
void add_to_shares(RouterGradients& gradients, index_t num_experts, const Share& share) {
    gradients.share.resize(static_cast<std::size_t>(num_experts), 0.0F);
    const PerExpertSpan<float> shares(gradients.share);
    for (index_t e = 0; e < num_experts; ++e) shares[e] += static_cast<float>(share(e));
}

/// coefficient * E / K * sum_i f_i P_i, f_i = load_i / T, P_i = mean share of a token's scores: 1 when uniform.
/// DeepSeekMoE's expert-level loss is the same function.
/// @par Source  Fedus et al., arXiv:2101.03961, eq. 4; Lepikhin et al., arXiv:2006.16668; Dai et al., arXiv:2401.06066
std::unique_ptr<RouterLoss> make_switch_loss(const MoeConfig& config);

/// coefficient * mean_t (logsumexp of the logits)^2.
/// @par Source  Zoph et al., ST-MoE, arXiv:2202.08906, eq. 5
std::unique_ptr<RouterLoss> make_z_loss(const MoeConfig& config);

/// coefficient * CV^2 of the importance of the experts, importance_i = sum of the combine weights given to i, CV^2 =
/// population variance / (mean^2 + 1e-10): 0 when even.
/// @par Source  Shazeer et al., arXiv:1701.06538, eq. 6 and 7
std::unique_ptr<RouterLoss> make_importance_loss(const MoeConfig& config);

/// coefficient * CV^2 of the experts' chances to be chosen, were each logit's learned noise drawn again, summed over
/// tokens. Zero without noise, as in evaluation.
/// @par Source  Shazeer et al., arXiv:1701.06538, appendix A, eq. 8 to 11
std::unique_ptr<RouterLoss> make_load_loss(const MoeConfig& config);

/// coefficient * sum_d f_d P_d over the D groups of experts, f_d = D / (K T) * choices in d, P_d = sum over d of the mean
/// shares: 1 when uniform.
/// @par Source  Dai et al., DeepSeekMoE, arXiv:2401.06066, eq. 15 to 17
std::unique_ptr<RouterLoss> make_device_loss(const MoeConfig& config);

/// coefficient * sum_d f_d P_d, f_d = D / (M T) * tokens with a choice in group d, M = moe.group_limit, P_d as in the
/// device loss.
/// @par Source  DeepSeek-V2, arXiv:2405.04434, eq. 29 to 31
std::unique_ptr<RouterLoss> make_communication_loss(const MoeConfig& config);

/// coefficient * the mean over sequences of sum_i f_i P_i: f_i = E / (K T_s) * how often i is among the K highest scores
/// (without bias or groups), P_i = mean share of a token's scores. A sequence lies on one rank.
/// @par Source  DeepSeek-V3, arXiv:2412.19437, eq. 17 to 20
std::unique_ptr<RouterLoss> make_sequence_loss(const MoeConfig& config);

/// The losses whose coefficients are not zero, in the order of the table in losses.cpp.
std::vector<std::unique_ptr<RouterLoss>> make_router_losses(const MoeConfig& config);

/// The sums of the losses over this rank's tokens, one loss after another: [sums, 4] i64, words of exact sums.
Tensor loss_sums(std::span<const std::unique_ptr<RouterLoss>> losses, const RoutedBatch& routed);

/// Every loss with its value. @param totals  with the sums of all losses, one loss after another
std::vector<NamedLoss> loss_values(std::span<const std::unique_ptr<RouterLoss>> losses,
                                   const LossTotals& totals);

/// Adds the gradients of all losses.
/// @param totals  with the sums of all losses, or with none where no gradient needs them
/// @param share   of a micro-step in a step
void add_loss_gradients(std::span<const std::unique_ptr<RouterLoss>> losses, const RoutedBatch& routed,
                        const LossTotals& totals, double share, RouterGradients& gradients);

}  // namespace sy::model
