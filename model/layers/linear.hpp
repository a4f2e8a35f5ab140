#pragma once

#include "kernels/core/context.hpp"
#include "kernels/core/gradient_ref.hpp"
#include "kernels/core/tensor.hpp"
#include "kernels/core/write.hpp"
#include "model/config.hpp"

/// Pieces that every layer with products uses. Operands of a product are f32, or bf16 in a bf16 model.
namespace sy::model {

/// Rows as inputs of products: the rows themselves, or a bf16 copy of f32 rows that this object owns.
class ProductInput {
  public:
    ProductInput() = default;
    /// @param x      [T, in] f32, or of the dtype already
    /// @param dtype  of the products, f32 or bf16
    ProductInput(ConstTensorRef x, DType dtype, const Context& context);
    /// Owns the rows also where they are not rounded.
    ProductInput(Tensor&& x, DType dtype, const Context& context);
    ConstTensorRef ref() const { return ref_; }

  private:
    Tensor own_;
    ConstTensorRef ref_{};
};

/// y = x W.
/// @param x       [T, in]
/// @param weight  [in, out], of the dtype of x
/// @param y       [T, out] f32
void linear(ConstTensorRef x, ConstTensorRef weight, TensorRef y, const Context& context);

/// dx = (or +=) dy W^T, and the weight's gradient.
/// @param x           [T, in]
/// @param dy          [T, out], of the dtype of x, as is the weight [in, out]
/// @param write       what becomes of dx [T, in] f32
/// @param block_rows  rows of one sequence, for layout-independent sums
struct LinearBackward {
    ConstTensorRef x;
    ConstTensorRef dy;
    ConstTensorRef weight;
    Write write = Write::overwrite;
    index_t block_rows = 1;
};
void linear_backward(const LinearBackward& in, TensorRef dx, GradientRef dweight, const Context& context);

}  // namespace sy::model
