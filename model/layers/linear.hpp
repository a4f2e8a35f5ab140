#pragma once

#include "kernels/core/context.hpp"
#include "kernels/core/gradient.hpp"
#include "kernels/core/tensor.hpp"
#include "kernels/core/write.hpp"
#include "model/config.hpp"

/// Pieces that every layer with products uses. In is the type of product inputs: float, or bf16 in a bf16 model.
namespace sy::model {

/// Standard deviation of the weights that write to the residual stream: smaller by the root of the number of such
/// writes (GPT-2's rule).
float output_deviation(const ModelConfig& config);

/// Rows as inputs of products: a view of float rows, or a bf16 copy of them that this object owns.
template <class In>
class ProductInput {
  public:
    ProductInput(MatrixView<const float> x, const Context& context);
    MatrixView<const In> view() const { return view_; }

  private:
    Tensor rounded_;
    MatrixView<const In> view_;
};

/// y = x W. [T, in] -> [T, out]
template <class In>
void linear(MatrixView<const In> x, MatrixView<const In> weight, MatrixView<float> y, const Context& context);

/// dx = (or +=) dy W^T, and the weight's gradient.
/// @param write       what becomes of dx
/// @param block_rows  rows of one sequence, for layout-independent sums
template <class In>
struct LinearBackward {
    MatrixView<const In> x;
    MatrixView<const In> dy;
    MatrixView<const In> weight;
    Write write = Write::overwrite;
    index_t block_rows = 1;
};
template <class In>
void linear_backward(const LinearBackward<In>& in, MatrixView<float> dx, GradientView dweight,
                     const Context& context);

}  // namespace sy::model
