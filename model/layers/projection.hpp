#pragma once

#include "model/autograd/tape.hpp"
#include "model/layers/layer_context.hpp"
#include "model/layers/linear.hpp"

namespace sy::model {

/// y = x W (+ b): a matrix [in, out] of some role in a layer, and its bias [out] where the model has one.
class Projection {
  public:
    Projection(LayerContext& shared, const LayerKey& layer, Role role);

    /// @param x  [T, in] f32, or of the model's dtype
    /// @param y  [T, out] f32 is overwritten
    void forward(ConstTensorRef x, TensorRef y, const Context& context) const;
    /// The same into a tensor of its own.
    Tensor forward(ConstTensorRef x, const Context& context) const;

    /// dx = (or +=) dy W^T, and the gradients of weight and bias.
    /// @param x           [T, in] f32, or of the model's dtype
    /// @param dy          [T, out] f32
    /// @param write       what becomes of dx [T, in] f32
    /// @param block_rows  rows of one sequence, for layout-independent sums
    struct Backward {
        ConstTensorRef x;
        ConstTensorRef dy;
        Write write = Write::overwrite;
        index_t block_rows = 1;
    };
    void backward(const Backward& in, TensorRef dx, const Context& context) const;
    /// dx as a tensor of its own.
    Tensor backward(ConstTensorRef x, ConstTensorRef dy, index_t block_rows, const Context& context) const;
    /// Opens the gradient of a value, or adds to it.
    void backward(ConstTensorRef x, ConstTensorRef dy, index_t block_rows, Value& value,
                  const Context& context) const {
        const Write write = value.open_gradient(context);
        backward({x, dy, write, block_rows}, value.grad, context);
    }

    /// [in, out], of the model's dtype
    ConstTensorRef weight() const { return shared_.parameters.working_weight(weight_); }

  private:
    LayerContext& shared_;
    ParameterId weight_;
    ParameterId bias_;  ///< or -1
};

}  // namespace sy::model
