#pragma once

#include "kernels/ops/bodies.hpp"

/// The bodies of CUDA: each is in the folder of its operation, in a file that ends in .cu.
namespace sy::ops {
namespace on_cuda {

#define SY_ROW(name, type) type name;
SY_OPERATIONS(SY_ROW)
#undef SY_ROW

}  // namespace on_cuda

extern const Bodies kCudaBodies;

}  // namespace sy::ops
