#pragma once

#include <cstdint>
#include <span>

#include "kernels/core/context.hpp"
#include "kernels/core/philox.hpp"
#include "kernels/core/tensor.hpp"
#include "kernels/ops/gate/score.hpp"

/// Router scores, the choice of experts, and its weights. T tokens, E experts, K choices a token. All float32.
namespace sy::ops {

/// Scores of each row of logits; lse[t] = logsumexp of the row, whatever the kind of score (for the z-loss).
/// @param logits, scores  [T, E]; may be the same
void gate_scores(Score kind, MatrixView<const float> logits, MatrixView<float> scores, std::span<float> lse,
                 const Context& context);

/// The K highest scores of each row, highest first; equal scores: the lower expert first.
/// @param scores  [T, E] any numbers
/// @param expert  [T, K]
void gate_top_k(MatrixView<const float> scores, MatrixView<std::int32_t> expert, const Context& context);

/// Experts in equal contiguous runs, of which each row may reach a few.
struct GroupLimit {
    index_t groups = 1;  ///< divides E
    index_t limit = 1;   ///< groups that stay open
    index_t counted =
        1;  ///< a group's score is the sum of its highest `counted` scores, added from the highest down
};
/// open = scores in the `limit` groups of highest score (equal scores: the lower group), -infinity elsewhere.
/// @param scores, open  [T, E]; may be the same
/// @par Source  DeepSeek-V2, arXiv:2405.04434, 2.2.2 (counted = 1); DeepSeek-V3, arXiv:2412.19437, 2.1.2
void gate_limit_groups(MatrixView<const float> scores, const GroupLimit& rule, MatrixView<float> open,
                       const Context& context);

enum class Renormalise { no, yes };

/// Added to every sum of scores that is divided by, so that scores which are all almost 0 have finite weights, shares
/// and gradients; float32 sums above 1e-12 do not change.
/// @par Source  DeepSeek-V3's and Megatron Core's routers
inline constexpr float kLeastScoreSum = 1e-20F;

/// Which scores weigh what: weight = scale * score of the choice, over the sum of the chosen scores plus
/// kLeastScoreSum when renormalising.
/// A negative expert is no choice: it weighs 0 and takes no part in the sum.
struct GateWeights {
    MatrixView<const float> scores;         ///< [T, E]; empty: every score is 1
    MatrixView<const std::int32_t> expert;  ///< [T, K]
    Renormalise renormalise = Renormalise::yes;
    float scale = 1.0F;
};
/// @param weight  [T, K]
void gate_weights(const GateWeights& in, MatrixView<float> weight, const Context& context);

/// How GShard's second choices are drawn. @par Source  Lepikhin et al., arXiv:2006.16668, algorithm 1
struct SecondDraw {
    RandomKey key;
    index_t first_token = 0;  ///< row 0 among all tokens: a draw does not depend on the layout
    double scale = 1.0;       ///< of the weights
};
/// sent = expert, with -1 for second choices that stay: they go out with probability min(1, 2 weight / scale), which is
/// where uniform(key, first_token + t) lies below.
/// @param expert, weight, sent  [T, 2]; sent may be expert
/// @throws ShapeError when the shapes differ
void gate_draw_second(MatrixView<const std::int32_t> expert, MatrixView<const float> weight,
                      const SecondDraw& rule, MatrixView<std::int32_t> sent, const Context& context);

/// Sum mod 2^64 of a hash of (layer, token, place of the choice, expert, kept) over the choices of this rank, so that
/// the sum over the ranks of a step says what was routed where, whatever the layout. A negative expert is no choice.
/// @param expert       [T, K]
/// @param kept         [T, K] 1: it has its slot, 0: it was dropped
/// @param first_token  row 0 among all tokens
std::uint64_t routing_hash(MatrixView<const std::int32_t> expert, std::span<const std::uint8_t> kept,
                           index_t layer, index_t first_token, const Context& context);

/// Gradient of the logits: from the weights (through renormalisation and scores), from shares (balance losses), from
/// the logsumexp (z-loss) and from the logits themselves. Whatever is empty is zero. A score's share is what it has of
/// its row: softmax scores are shares, sigmoid scores are divided by the row's sum plus kLeastScoreSum.
struct GateBackward {
    Score kind = Score::softmax;
    GateWeights forward{};
    MatrixView<const float> logits{};   ///< [T, E]; read only for dlse with sigmoid scores
    std::span<const float> lse{};       ///< [T]; likewise
    MatrixView<const float> dweight{};  ///< [T, K]
    std::span<const float> dshare{};    ///< [E] the same for every token (Switch loss: coefficient * f_i)
    MatrixView<const float> token_dshare{};  ///< [T, E]
    std::span<const float> dlse{};           ///< [T]
    MatrixView<const float> dlogit{};        ///< [T, E]
};
/// @param dlogits  [T, E] is overwritten
void gate_backward(const GateBackward& in, MatrixView<float> dlogits, const Context& context);

namespace ref {
void gate_scores(Score kind, MatrixView<const float> logits, MatrixView<float> scores, std::span<float> lse);
void gate_top_k(MatrixView<const float> scores, MatrixView<std::int32_t> expert);
void gate_limit_groups(MatrixView<const float> scores, const GroupLimit& rule, MatrixView<float> open);
void gate_weights(const GateWeights& in, MatrixView<float> weight);
void gate_backward(const GateBackward& in, MatrixView<float> dlogits);
}  // namespace ref

}  // namespace sy::ops
