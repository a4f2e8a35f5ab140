#pragma once

#include <string>
#include <vector>

#include "kernels/core/types.hpp"
#include "kernels/cuda/gpu.hpp"

/// The GPUs that the process sees.
namespace sy::cuda {

/// What tells each from all others, also in other processes and on other nodes, in CUDA's order.
/// @throws CudaError saying why there are none
std::vector<std::string> visible_gpus();

struct GpuProperties {
    GpuNames names;
    index_t memory_bytes = 0;
};
/// Makes it the one that this thread uses. @throws CudaError when there is no such GPU
GpuProperties select_gpu(int index);

}  // namespace sy::cuda
