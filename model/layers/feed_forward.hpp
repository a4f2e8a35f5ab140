#pragma once

#include "kernels/ops/expert_ffn/expert_ffn.hpp"
#include "model/autograd/tape.hpp"
#include "model/layers/layer_context.hpp"
#include "model/layers/linear.hpp"
#include "model/pass.hpp"

namespace sy::model {

/// Dense feed-forward with model.activation; also the shared experts of a mixture, which are one wide feed-forward.
class FeedForward {
  public:
    FeedForward(LayerContext& shared, const LayerKey& layer);

    /// What backward needs.
    struct Saved {
        ProductInput input;  ///< borrows the rows of a float32 model
        Tensor gate = {};
        Tensor up = {};
    };
    /// @param x       [T, H] f32, which has to live as long as what is saved
    /// @param out     [T, H] f32 is overwritten
    /// @param weight  [T] f32 of each row's output; null: all are 1
    Saved apply(ConstTensorRef x, TensorRef out, bool keep, const Context& context,
                ConstTensorRef weight = {}) const;
    /// @param dy       [T, H] f32
    /// @param dx       [T, H] f32 is overwritten
    /// @param weight   [T] as in apply
    /// @param dweight  [T] f32 is overwritten; null without weights
    struct Backward {
        ConstTensorRef dy;
        TensorRef dx;
        ConstTensorRef weight = {};
        TensorRef dweight = {};
    };
    void backward(const Backward& in, const Saved& saved, const PassInfo& pass, const Context& context) const;
    Value& forward(Tape& tape, Value& x, const PassInfo& pass) const;

  private:
    ops::ExpertWeights weights() const;

    LayerContext& shared_;
    ParameterId gate_;  ///< -1 without a gate
    ParameterId up_;
    ParameterId down_;
    ParameterId gate_bias_;  ///< -1 without biases
    ParameterId up_bias_;
    ParameterId down_bias_;
};

}  // namespace sy::model
