#pragma once

#include "kernels/core/context.hpp"
#include "kernels/core/gradient_ref.hpp"
#include "kernels/core/tensor_ref.hpp"
#include "kernels/core/write.hpp"

/// Matrix products, spread over the team. K the summed dimension, M and N the sides of the result.
namespace sy::ops {

enum class Transpose { no, yes };

/// One product C = (or +=) op(A) op(B), float32 accumulation; strides are free.
/// @param a  [M, K] (or [K, M] when transposed), f32 or bf16
/// @param b  [K, N] (or [N, K]), of the same dtype
/// @param c  [M, N] f32
struct Product {
    ConstTensorRef a;
    Transpose transpose_a = Transpose::no;
    ConstTensorRef b;
    Transpose transpose_b = Transpose::no;
    TensorRef c;
    Write write = Write::overwrite;
};

/// The product, by blocks of C.
/// @throws ShapeError when sides or dtypes do not fit
void multiply(const Product& product, const Context& context);

/// Adds X^T dY to a weight gradient [width of x, width of dy].
/// `fast`: one product over all rows. `reproducible`: one product for each run of block_rows rows (the last may
/// be shorter), each added as fixed point; with block_rows rows of one sequence the sum is the same on every layout.
/// @param x   [T, width of x], f32 or bf16
/// @param dy  [T, width of dy], of the same dtype
/// @throws ShapeError when sides or dtypes do not fit
void add_weight_gradient(ConstTensorRef x, ConstTensorRef dy, index_t block_rows, GradientRef gradient,
                         const Context& context);

}  // namespace sy::ops
