#pragma once

#include <chrono>
#include <memory>

#include "comm/nccl/calls.hpp"
#include "comm/nccl/nccl_group.hpp"
#include "kernels/cuda/stream.hpp"

namespace sy::comm {

/// The group that windows belong to; borrowed.
struct WindowOwner {
    const NcclCalls& calls;
    ncclComm_t comm;
    CudaStream& stream;
    Device& device;
    int rank;
    int size;
};

/// @throws ConfigError in builds without the headers of NCCL's device API; where the library has none, or another; where
///                     a GPU does not reach the memory of all others
std::unique_ptr<NcclWindows> make_gpu_windows(const WindowOwner& owner, std::chrono::milliseconds deadline);

}  // namespace sy::comm
