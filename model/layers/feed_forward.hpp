#pragma once

#include "kernels/ops/expert_ffn/expert_ffn.hpp"
#include "model/autograd/tape.hpp"
#include "model/layers/layer_context.hpp"
#include "model/pass.hpp"

namespace sy::model {

/// Dense feed-forward with model.activation; also the shared experts of a mixture, which are one wide feed-forward.
class FeedForward {
  public:
    FeedForward(LayerContext& shared, const LayerKey& layer);

    /// Adds to nothing: out is overwritten. `saved` keeps what backward needs.
    struct Saved {
        Tensor input;  ///< bf16 rows, empty in a float32 model
        Tensor gate;
        Tensor up;
    };
    /// @param x, out  [T, H] f32
    /// @param weight  [T] f32 of each row's output; null: all are 1
    Saved apply(ConstTensorRef x, TensorRef out, bool keep, const Context& context,
                ConstTensorRef weight = {}) const;
    /// What the output depends on beside the parameters, and the gradients of both.
    /// @param x, dy    [T, H] f32
    /// @param dx       [T, H] f32 is overwritten
    /// @param weight   [T] as in apply
    /// @param dweight  [T] f32 is overwritten; null without weights
    struct Backward {
        ConstTensorRef x;
        ConstTensorRef dy;
        TensorRef dx;
        ConstTensorRef weight = {};
        TensorRef dweight = {};
    };
    void backward(const Backward& in, const Saved& saved, const PassInfo& pass, const Context& context) const;
    Value& forward(Tape& tape, Value& x, const PassInfo& pass) const;

  private:
    ops::ExpertWeights weights() const;
    ops::ExpertBiasGradients bias_gradients() const;

    LayerContext& shared_;
    ParameterId gate_;  ///< -1 without a gate
    ParameterId up_;
    ParameterId down_;
    ParameterId gate_bias_;  ///< -1 without biases
    ParameterId up_bias_;
    ParameterId down_bias_;
};

}  // namespace sy::model
