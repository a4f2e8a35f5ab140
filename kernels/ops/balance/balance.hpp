#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/core/context.hpp"
#include "kernels/core/exact_sum.hpp"
#include "kernels/core/tensor_ref.hpp"
#include "kernels/ops/gate/score.hpp"

/// Sums and gradients of the losses that keep a router's load even (model/moe/balance/loss.hpp has the losses and their
/// sources). T tokens, E experts, K choices a token; a negative expert is no choice. Sums are exact, so that neither
/// threads nor layouts show in them: of each a device holds the words of ExactSum, [4] i64, to which an operation adds; what
/// begins is cleared (ops::clear) first. A score's share is what it has of its row (gate.hpp, GateBackward). Scores, values
/// and gradients are f32, choices i32, frequencies f64.
/// All functions throw ShapeError when sides do not fit.
namespace sy::ops {

/// sums[g] += the shares of the experts of run g over all tokens, rounded once a token and run. Softmax scores are
/// shares, so with that kind it adds the columns of any matrix.
/// @param scores  [T, E]
/// @param sums    [G, 4] of equal contiguous runs of experts; G divides E
void share_sums(Score kind, ConstTensorRef scores, TensorRef sums, const Context& context);

/// sums[e] += the values of the choices of e.
/// @param expert, value  [T, K]
/// @param sums           [E, 4]
void choice_sums(ConstTensorRef expert, ConstTensorRef value, TensorRef sums, const Context& context);

/// values += factor of the chosen expert: the gradient of choice_sums.
/// @param expert, values  [T, K]
/// @param factor          [E] of the host
void add_to_choices(ConstTensorRef expert, std::span<const float> factor, TensorRef values,
                    const Context& context);

/// sums[g] += how many tokens have a choice among the run_size experts of run g. @param expert [T, K] @param sums [G, 4]
void count_reached(ConstTensorRef expert, index_t run_size, TensorRef sums, const Context& context);

/// sum += the values. @param values  [T]  @param sum  [1, 4]
void value_sum(ConstTensorRef values, TensorRef sum, const Context& context);

/// sum += the squares of values, each rounded to a double. @param values  [T]  @param sum  [1, 4]
void square_sum(ConstTensorRef values, TensorRef sum, const Context& context);

/// The sums whose words the host has read. @param words  [G, 4] i64, of HostValues
std::vector<ExactSum> exact_sums(ConstTensorRef words);

/// y[i] += factor * x[i], the product in double, rounded once: the gradient of square_sum with factor 2.
/// @param x, y  [T]
void add_scaled(double factor, ConstTensorRef x, TensorRef y, const Context& context);

/// frequency[s, e] = unit, added up once for each choice of e among the tokens of sequence s, which are equally many.
/// @param expert     [T, K]
/// @param frequency  [S, E], S divides T; is overwritten
void sequence_frequencies(ConstTensorRef expert, double unit, TensorRef frequency, const Context& context);

/// sum += for each sequence the mean over its tokens of sum_e frequency[s, e] * share[t, e], in double in the order of
/// tokens and experts, rounded once.
/// @param scores     [T, E]
/// @param frequency  [S, E]
/// @param sum        [1, 4]
void sequence_sum(Score kind, ConstTensorRef scores, ConstTensorRef frequency, TensorRef sum,
                  const Context& context);

/// dshare[t, e] += scale * frequency[s, e] for the tokens of every sequence.
/// @param frequency  [S, E]
/// @param dshare     [T, E]
void sequence_backward(double scale, ConstTensorRef frequency, TensorRef dshare, const Context& context);

/// How surely an expert is among a token's K choices, were its noise drawn again: Phi(distance), distance = (clean -
/// threshold) / scale, the threshold being the K-th highest logit of the others. The K + 1 highest logits of a token
/// are all that thresholds can be: for the chosen the next one, for the others the last of the chosen.
struct Chances {
    ConstTensorRef logits;  ///< [T, E] clean + noise * scale
    ConstTensorRef clean;   ///< [T, E]
    ConstTensorRef scale;   ///< [T, E]
    ConstTensorRef best;    ///< [T, K + 1] of the highest logits, highest first
};
/// @param distance  [T, E] is overwritten
void chance_distances(const Chances& in, TensorRef distance, const Context& context);

/// What chance_backward adds to, [T, E] each.
struct ChanceGradients {
    TensorRef clean, logits, scale;
};
/// Gradient of sum_e factor[e] * sum_t Phi(distance[t, e]).
/// @param factor    [E] of the host
/// @param distance  [T, E] as chance_distances gives it
/// @param density   [T, E] phi(distance); is overwritten
void chance_backward(const Chances& in, std::span<const float> factor, ConstTensorRef distance,
                     TensorRef density, const ChanceGradients& gradients, const Context& context);

namespace ref {
void share_sums(Score kind, MatrixView<const float> scores, std::span<double> sums);
void sequence_frequencies(MatrixView<const std::int32_t> expert, double unit, MatrixView<double> frequency);
double sequence_sum(Score kind, MatrixView<const float> scores, MatrixView<const double> frequency);
void chance_distances(const Chances& in, MatrixView<float> distance);
}  // namespace ref

}  // namespace sy::ops
