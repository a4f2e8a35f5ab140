#pragma once

#include <span>

#include "kernels/ops/gemm/gemm.hpp"

/// Groups of matrix products of a GPU, such as those of all experts: the one seam behind which they are one after the other
/// on a stream, on several streams, or one call of a library, whichever the device has measured to be the fastest for groups
/// of about this size (kernels/cuda/group_methods.hpp).
namespace sy::ops::on_gpu {

/// Queues all products.
/// @pre their sides fit, all are of one dtype and transposed alike, and none reads or writes what another writes
void multiply_group(std::span<const Product> products, const Context& context);

}  // namespace sy::ops::on_gpu
