#pragma once

#include "kernels/core/gradient_ref.hpp"
#include "kernels/cuda/product_library.hpp"
#include "kernels/cuda/view.hpp"
#include "kernels/ops/gemm/gemm.hpp"

/// Matrix products of a GPU, for the bodies of operations. K the summed dimension, M and N the sides of the result.
///
/// In `fast` mode the device's library computes them where it has one (kernels/cuda/product_library.hpp). In `reproducible`
/// mode, and without a library, the kernel of product.cu does: there every element is one chain of multiply-adds over
/// ascending k, as on the CPU, so that its bits depend on the row of A and the column of B alone, and on no layout. Those of
/// a library may depend on the other sides, by which it picks its kernels.
namespace sy::ops::on_gpu {

/// Queues C = (or +=) op(A) op(B).
/// @pre the sides and dtypes fit
void multiply(const Product& product, const Context& context);

/// The library that computes products in this context; null: none does.
cuda::ProductLibrary* product_library(const Context& context);
cuda::LibraryProduct library_product(const Product& product);

/// gradient += X^T dY as a product, where the gradient is in float32.
Product gradient_product(ConstTensorRef x, ConstTensorRef dy, const GradientRef& gradient);

/// Queues gradient += X^T dY: in float32 over all rows; in fixed point a product for each block of rows, rounded by itself.
/// @param x       [T, M]  @param dy  [T, N] of the same dtype
/// @param blocks  block b is rows [blocks[b], blocks[b + 1]); not read in float32
void add_weight_gradient(ConstTensorRef x, ConstTensorRef dy, std::span<const index_t> blocks,
                         const GradientRef& gradient, const Context& context);

}  // namespace sy::ops::on_gpu
