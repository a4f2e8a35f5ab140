#pragma once

#include <memory>
#include <span>
#include <string>

#include "kernels/core/context.hpp"
#include "kernels/core/tensor_ref.hpp"

/// A library of matrix products on a GPU, behind which no type of the library shows. Bodies come to it by
/// kernels/ops/gemm/product.cuh.
namespace sy::cuda {

/// C = (or +=) op(A) op(B), row-major, strides free; op(X) is X^T where it is transposed.
struct LibraryProduct {
    ConstTensorRef a;  ///< [M, K] (or [K, M] when transposed), f32 or bf16
    bool a_transposed = false;
    ConstTensorRef b;  ///< [K, N] (or [N, K]), of the same dtype
    bool b_transposed = false;
    TensorRef c;  ///< [M, N] f32
    bool adds = false;
};

/// Sums are in float32 and their order is the library's own: it may differ with the sides. Float32 operands are multiplied
/// in float32, never in TF32.
class ProductLibrary {
  public:
    ProductLibrary() = default;
    ProductLibrary(const ProductLibrary&) = delete;
    ProductLibrary& operator=(const ProductLibrary&) = delete;
    virtual ~ProductLibrary() = default;

    /// Queues a product on the context's stream.
    /// @pre the sides and dtypes fit, and C is not empty
    /// @throws CudaError naming the sides, when the library refuses
    virtual void multiply(const LibraryProduct& product, const Context& context) = 0;
    /// Whether multiply_group takes these products: all of one dtype, and what the library asks of types and addresses.
    virtual bool takes_group(std::span<const LibraryProduct> products) const = 0;
    /// Queues products that do not depend on each other, by one call.
    /// @throws CudaError naming the group, when the library refuses
    virtual void multiply_group(std::span<const LibraryProduct> products, const Context& context) = 0;
};

/// The library of a device, and what a person is told about it: its version and place, or why there is none.
struct FoundProductLibrary {
    std::unique_ptr<ProductLibrary> library;  ///< null: there is none
    std::string note;
};
using FindProductLibrary = FoundProductLibrary(Device& device);

/// cuBLAS, where its headers were there when this was built and its library is found now.
/// @throws CudaError when the library is there but cannot be used
FindProductLibrary find_cublas;

}  // namespace sy::cuda
