#pragma once

#include <cstdint>
#include <span>

#include "kernels/core/context.hpp"
#include "kernels/core/philox.hpp"
#include "kernels/core/tensor_ref.hpp"
#include "kernels/ops/gate/score.hpp"

/// Router scores, the choice of experts, and its weights. T tokens, E experts, K choices a token. Scores, weights and
/// their gradients are f32, choices i32. All functions throw ShapeError when sides do not fit.
namespace sy::ops {

/// Scores of each row of logits; lse[t] = logsumexp of the row, whatever the kind of score (for the z-loss).
/// @param logits, scores  [T, E]; may be the same
/// @param lse             [T]
void gate_scores(Score kind, ConstTensorRef logits, TensorRef scores, TensorRef lse, const Context& context);

/// The K highest scores of each row, highest first; equal scores: the lower expert first.
/// @param scores  [T, E] any numbers
/// @param expert  [T, K]
void gate_top_k(ConstTensorRef scores, TensorRef expert, const Context& context);

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
void gate_limit_groups(ConstTensorRef scores, const GroupLimit& rule, TensorRef open, const Context& context);

enum class Renormalise { no, yes };

/// Added to every sum of scores that is divided by, so that scores which are all almost 0 have finite weights, shares
/// and gradients; float32 sums above 1e-12 do not change.
/// @par Source  DeepSeek-V3's and Megatron Core's routers
inline constexpr float kLeastScoreSum = 1e-20F;

/// Which scores weigh what: weight = scale * score of the choice, over the sum of the chosen scores plus
/// kLeastScoreSum when renormalising.
/// A negative expert is no choice: it weighs 0 and takes no part in the sum.
struct GateWeights {
    ConstTensorRef scores;  ///< [T, E]; null: every score is 1
    ConstTensorRef expert;  ///< [T, K]
    Renormalise renormalise = Renormalise::yes;
    float scale = 1.0F;
};
/// @param weight  [T, K]
void gate_weights(const GateWeights& in, TensorRef weight, const Context& context);

/// How GShard's second choices are drawn. @par Source  Lepikhin et al., arXiv:2006.16668, algorithm 1
struct SecondDraw {
    RandomKey key;
    index_t first_token = 0;  ///< row 0 among all tokens: a draw does not depend on the layout
    double scale = 1.0;       ///< of the weights
};
/// sent = expert, with -1 for second choices that stay: they go out with probability min(1, 2 weight / scale), which is
/// where uniform(key, first_token + t) lies below.
/// @param expert, weight, sent  [T, 2]; sent may be expert
void gate_draw_second(ConstTensorRef expert, ConstTensorRef weight, const SecondDraw& rule, TensorRef sent,
                      const Context& context);

/// Sum mod 2^64 of a hash of (layer, token, place of the choice, expert, kept) over the choices of this rank, so that
/// the sum over the ranks of a step says what was routed where, whatever the layout. A negative expert is no choice.
/// @param expert       [T, K]
/// @param kept         [T * K] of the host; 1: it has its slot, 0: it was dropped
/// @param first_token  row 0 among all tokens
/// @param hash         [1] i64 is overwritten
void routing_hash(ConstTensorRef expert, std::span<const std::uint8_t> kept, index_t layer,
                  index_t first_token, TensorRef hash, const Context& context);

/// Gradient of the logits: from the weights (through renormalisation and scores), from shares (balance losses), from
/// the logsumexp (z-loss) and from the logits themselves. Whatever is null or empty is zero. A score's share is what it
/// has of its row: softmax scores are shares, sigmoid scores are divided by the row's sum plus kLeastScoreSum.
struct GateBackward {
    Score kind = Score::softmax;
    GateWeights forward{};
    ConstTensorRef logits{};   ///< [T, E]; read only for dlse with sigmoid scores
    ConstTensorRef lse{};      ///< [T]; likewise
    ConstTensorRef dweight{};  ///< [T, K]
    std::span<const float>
        dshare{};  ///< [E] of the host, alike for all tokens (Switch loss: coefficient * f_i)
    ConstTensorRef token_dshare{};  ///< [T, E]
    ConstTensorRef dlse{};          ///< [T]
    ConstTensorRef dlogit{};        ///< [T, E]
};
/// @param dlogits  [T, E] is overwritten
void gate_backward(const GateBackward& in, TensorRef dlogits, const Context& context);

namespace ref {
void gate_scores(Score kind, MatrixView<const float> logits, MatrixView<float> scores, std::span<float> lse);
void gate_top_k(MatrixView<const float> scores, MatrixView<std::int32_t> expert);
void gate_limit_groups(MatrixView<const float> scores, const GroupLimit& rule, MatrixView<float> open);
void gate_weights(const GateWeights& in, MatrixView<float> weight);
void gate_backward(const GateBackward& in, MatrixView<float> dlogits);
}  // namespace ref

}  // namespace sy::ops
