#include "kernels/cuda/error.hpp"

namespace sy::cuda {

const char* advice_for(cudaError_t status) {
    switch (status) {
        case cudaErrorNoDevice:
            return "no GPU is visible: is CUDA_VISIBLE_DEVICES empty, or was no GPU asked of the scheduler?";
        case cudaErrorInsufficientDriver:
            return "there is no NVIDIA driver, or it is older than this build's CUDA: nvidia-smi shows its "
                   "version";
        case cudaErrorInvalidDevice:
            return "there are fewer GPUs than ranks on this node: start one rank a GPU";
        case cudaErrorDevicesUnavailable:
            return "another process holds the GPU exclusively";
        case cudaErrorMemoryAllocation:
            return "the GPU's memory is full: smaller micro-batches, more ranks or recomputation need less";
        case cudaErrorECCUncorrectable:
            return "the GPU's memory is damaged: continue from the checkpoint on another node, and report "
                   "this "
                   "one";
        case cudaErrorIllegalAddress:
        case cudaErrorLaunchFailure:
        case cudaErrorMisalignedAddress:
            return "a kernel went wrong, maybe one queued earlier: CUDA_LAUNCH_BLOCKING=1 names the call, "
                   "compute-sanitizer the line";
        default:
            return "";
    }
}

void check(cudaError_t status, const char* call, const std::source_location& where) {
    if (status == cudaSuccess) return;
    const char* const advice = advice_for(status);
    throw CudaError(concat("cuda: ", call, " (", where.file_name(), ":", where.line(),
                           "): ", cudaGetErrorString(status), " (", cudaGetErrorName(status), ")",
                           *advice == '\0' ? "" : "; ", advice));
}

}  // namespace sy::cuda
