#pragma once

#include <cstdint>
#include <span>

#include "model/autograd/tape.hpp"
#include "model/layers/layer_context.hpp"
#include "model/pass.hpp"

namespace sy::model {

/// What a head measures of the rows that count: target -1 is one that does not.
struct HeadLoss {
    std::span<const std::int32_t> target;  ///< [T]
    float scale = 0.0F;                    ///< weight of a token in the total loss
    TensorRef loss;                        ///< [T] f32 receives the cross entropy of each token
    float z_scale = 0.0F;                  ///< weight of a token's squared logsumexp in the total loss
    TensorRef lse{};  ///< [T] f32 receives the logsumexp of each token's logits; null: not wanted
};

/// Projection to the vocabulary and cross entropy, a few rows at a time: logits of all tokens never exist together.
class Head {
  public:
    /// Multiplies by the embedding [V, H] where model.tied_head, else by a matrix [H, V] of its own; then the scale and the
    /// bias that the model has.
    explicit Head(LayerContext& shared);

    /// With a recording tape x.grad and the weight's gradient are computed at once.
    /// @param x  [T, H], after the last norm
    void forward(Tape& tape, Value& x, const HeadLoss& loss, const PassInfo& pass) const;
    /// @param x    [B, H] f32, after the last norm
    /// @param out  [B, V] f32 logits
    void logits(ConstTensorRef x, TensorRef out, const Context& context) const;

  private:
    float scale() const { return static_cast<float>(shared_.config.logit_scale); }
    /// x times model.logit_scale, as the product reads it. @param room  holds the rows where the scale is not 1
    ConstTensorRef scaled(ConstTensorRef x, Tensor& room, const Context& context) const;
    /// The product and its bias, before the cap. @param x  scaled, of the model's dtype
    void project(ConstTensorRef x, TensorRef out, const Context& context) const;

    LayerContext& shared_;
    bool tied_;
    ParameterId weight_;
    ParameterId bias_;  ///< [V], or -1
};

}  // namespace sy::model
