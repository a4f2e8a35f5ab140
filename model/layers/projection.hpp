#pragma once

#include "model/autograd/tape.hpp"
#include "model/layers/layer_context.hpp"
#include "model/layers/linear.hpp"

namespace sy::model {

/// y = x W (+ b): a matrix [in, out] called NAME, and if wanted a bias [out] called NAME_bias.
class Projection {
  public:
    struct Sides {
        index_t in = 0;
        index_t out = 0;
    };
    /// @param deviation  of the initial weights; biases start at 0
    Projection(LayerContext& shared, const std::string& name, Sides sides, float deviation, Bias bias);

    /// y [T, out] is overwritten. In: float, or bf16 in a bf16 model.
    template <class In>
    void forward(MatrixView<const In> x, MatrixView<float> y, const Context& context) const;

    /// dx = (or +=) dy W^T, and the gradients of weight and bias.
    /// @param write       what becomes of dx
    /// @param block_rows  rows of one sequence, for layout-independent sums
    template <class In>
    struct Backward {
        MatrixView<const In> x;
        MatrixView<const float> dy;
        Write write = Write::overwrite;
        index_t block_rows = 1;
    };
    template <class In>
    void backward(const Backward<In>& in, MatrixView<float> dx, const Context& context) const;
    /// The same for the gradient of a value, which it opens or adds to.
    template <class In>
    void backward(MatrixView<const In> x, MatrixView<const float> dy, index_t block_rows, Value& value,
                  const Context& context) const {
        const Write write = value.open_gradient(context);
        backward<In>({x, dy, write, block_rows}, value.grad.matrix<float>(), context);
    }

    template <class In>
    MatrixView<const In> weight() const {
        return shared_.parameters.weight<In>(weight_);
    }

  private:
    LayerContext& shared_;
    ParameterId weight_;
    ParameterId bias_ = -1;
};

}  // namespace sy::model
