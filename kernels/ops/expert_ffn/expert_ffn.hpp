#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "kernels/core/context.hpp"
#include "kernels/core/gradient_ref.hpp"
#include "kernels/core/tensor_ref.hpp"
#include "kernels/ops/activation/kind.hpp"

/// Feed-forward of several experts over their own rows: out = (f(x Wgate) * (x Wup)) Wdown, or f(x Wup) Wdown where the
/// activation is not gated: an expert then has two matrices, and everything of its gate is empty.
/// R input rows, S slots (a slot is one row at one local expert), L local experts, H hidden, F expert width.
/// A dense feed-forward is the case L = 1, S = R. The product of a row block and an expert is one task.
/// @par Source  Shazeer, "GLU variants improve transformer", arXiv:2002.05202; MegaBlocks, arXiv:2211.15841
namespace sy::ops {

/// Which rows go through which experts. Slots are grouped by expert, inside an expert in global token order.
struct ExpertSlots {
    /// [L + 1]; expert l has slots [offsets[l], offsets[l + 1]).
    std::span<const index_t> offsets;
    /// [S] input row of each slot; empty when slot s is row s (dense).
    std::span<const std::int32_t> row;
    /// [S] f32 combine weight of each slot; null when all are 1 (dense).
    ConstTensorRef weight;
    /// For `reproducible` weight gradients: slots [blocks[b], blocks[b + 1]) form one product, and for bias gradients
    /// in both modes: they form one sum. Boundaries include every offset. May be empty in `fast` mode.
    std::span<const index_t> blocks;

    index_t num_experts() const { return static_cast<index_t>(offsets.size()) - 1; }
    index_t num_slots() const { return offsets.back(); }
};

/// Added to the projections and to the output of a dense feed-forward, f32. All null: none.
struct ExpertBiases {
    ConstTensorRef gate;  ///< [F]; null when not gated
    ConstTensorRef up;    ///< [F]
    ConstTensorRef down;  ///< [H]
};

/// The matrices of all experts below each other, f32 or bf16: the dtype of the rows in products too.
struct ExpertWeights {
    ConstTensorRef gate;  ///< [L * H, F]; null when not gated
    ConstTensorRef up;    ///< [L * H, F]
    ConstTensorRef down;  ///< [L * F, H]
    Activation activation = Activation::swiglu;
    ExpertBiases biases = {};
};

/// Gradients of the biases there are, [1, F], [1, F], [1, H]; null for those that are not.
struct ExpertBiasGradients {
    GradientRef gate;
    GradientRef up;
    GradientRef down;
};

/// One entry an expert: gradients [H, F], [H, F], [F, H]. `gate` is empty when not gated.
struct ExpertGradients {
    std::span<const GradientRef> gate;
    std::span<const GradientRef> up;
    std::span<const GradientRef> down;
    ExpertBiasGradients biases = {};
};

/// Where forward keeps what backward needs, [S, F] each of the weights' dtype.
struct ExpertSaved {
    TensorRef gate;  ///< x Wgate and its bias, before the activation; null when not gated
    TensorRef up;    ///< x Wup and its bias
};
/// What it kept.
struct ExpertKept {
    ConstTensorRef gate;
    ConstTensorRef up;
};

/// out[s] = weight[s] * ffn_expert(s)(x[row[s]]).
/// @param x      [R, H], of the weights' dtype
/// @param saved  receives [S, F] twice, once when not gated; null: nothing is kept (evaluation)
/// @param out    [S, H] f32
/// @throws ShapeError when operands do not fit each other, or for biases of what is not dense
void expert_ffn(ConstTensorRef x, const ExpertWeights& weights, const ExpertSlots& slots,
                const ExpertSaved& saved, TensorRef out, const Context& context);

/// What a router has chosen, in the memory of the device: the host knows neither experts nor weights, and need not.
struct ChosenExperts {
    ConstTensorRef expert;  ///< [T, K] i32 in [0, L); a negative one is no choice
    ConstTensorRef weight;  ///< [T, K] f32
};
/// out[t * K + j] = weight(t, j) * ffn_expert(t, j)(x[t]), zeros where there is no choice: expert_ffn of few tokens, for which
/// nothing is read back to the host. Forward, without biases. Each element of a product is one chain over ascending k in both
/// modes of numerics.
/// @param x    [T, H], of the weights' dtype
/// @param out  [T * K, H] f32
/// @throws ShapeError when operands do not fit each other, or for biases
void chosen_expert_ffn(ConstTensorRef x, const ExpertWeights& weights, const ChosenExperts& chosen,
                       TensorRef out, const Context& context);

/// Gradients of expert_ffn from dy, the gradient of the *weighted* slot outputs' row: slot s sees dy[row[s]].
/// @param dy       [R, H], of the weights' dtype; slot s receives weight[s] * dy[row[s]]
/// @param dx       [S, H] f32, per slot (not yet added over the slots of a row)
/// @param dweight  [S] f32, dot(unweighted output of the slot, dy[row[s]]), taken as dot(h, dy Wdown^T) so that
///                 outputs need not be kept; null when slots.weight is
struct ExpertBackward {
    ConstTensorRef dy;
    TensorRef dx;
    TensorRef dweight;
    ExpertGradients gradients;
    /// Called when dx and dweight are complete, before the gradients of the weights are computed: dx may be on its way
    /// meanwhile. Empty: nothing is called.
    std::function<void()> dx_ready = {};
};
/// @throws ShapeError when operands do not fit each other
void expert_ffn_backward(ConstTensorRef x, const ExpertWeights& weights, const ExpertSlots& slots,
                         const ExpertKept& kept, const ExpertBackward& backward, const Context& context);

}  // namespace sy::ops
