#pragma once

#include "kernels/core/gradient_ref.hpp"
#include "kernels/cuda/view.hpp"
#include "kernels/ops/gemm/gemm.hpp"

/// Matrix products of a GPU, for the bodies of operations. K the summed dimension, M and N the sides of the result.
namespace sy::ops::on_gpu {

/// Queues C = (or +=) op(A) op(B). Every element is one chain of multiply-adds over ascending k, as on the CPU.
/// @pre the sides and dtypes fit
void multiply(const Product& product, const Context& context);

/// Queues gradient += X^T dY: in float32 over all rows; in fixed point a product for each block of rows, rounded by itself.
/// @param x       [T, M]  @param dy  [T, N] of the same dtype
/// @param blocks  block b is rows [blocks[b], blocks[b + 1]); not read in float32
void add_weight_gradient(ConstTensorRef x, ConstTensorRef dy, std::span<const index_t> blocks,
                         const GradientRef& gradient, const Context& context);

}  // namespace sy::ops::on_gpu
