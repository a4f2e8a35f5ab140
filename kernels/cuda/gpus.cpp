#include "kernels/cuda/gpus.hpp"

#include <cuda_runtime.h>

#include <iomanip>
#include <sstream>

#include "kernels/cuda/error.hpp"

namespace sy::cuda {
namespace {

/// CUDA writes 12.4 as 12040.
std::string version_text(int version) {
    return concat(version / 1000, ".", version % 1000 / 10);
}

/// @throws CudaError  which tells a missing driver from an old one
int count_gpus() {
    int count = 0;
    const cudaError_t status = cudaGetDeviceCount(&count);
    if (status == cudaErrorInsufficientDriver) {
        int driver = 0;
        int runtime = 0;
        check(cudaDriverGetVersion(&driver), "cudaDriverGetVersion");
        check(cudaRuntimeGetVersion(&runtime), "cudaRuntimeGetVersion");
        if (driver == 0)
            throw CudaError(
                "cuda: this machine has no NVIDIA driver, or it is not loaded: does nvidia-smi find it?");
        throw CudaError(concat("cuda: the NVIDIA driver knows CUDA ", version_text(driver),
                               " at most, and this build needs ", version_text(runtime),
                               ": use a newer driver, or build with an older toolkit"));
    }
    check(status, "cudaGetDeviceCount");
    if (count == 0) check(cudaErrorNoDevice, "cudaGetDeviceCount");
    return count;
}

cudaDeviceProp properties_of(int index) {
    cudaDeviceProp properties;
    SY_CUDA(cudaGetDeviceProperties(&properties, index));
    return properties;
}

}  // namespace

std::vector<std::string> visible_gpus() {
    std::vector<std::string> identities;
    const int count = count_gpus();
    for (int index = 0; index < count; ++index) {
        std::ostringstream text;
        text << std::hex << std::setfill('0');
        for (const char byte : properties_of(index).uuid.bytes)
            text << std::setw(2) << static_cast<int>(static_cast<unsigned char>(byte));
        identities.push_back(text.str());
    }
    return identities;
}

GpuProperties select_gpu(int index) {
    const int count = count_gpus();
    if (index < 0 || index >= count)
        throw CudaError(concat("cuda: GPU ", index, " was asked for, but ", count, " are visible; ",
                               advice_for(cudaErrorInvalidDevice)));
    SY_CUDA(cudaSetDevice(index));
    const cudaDeviceProp properties = properties_of(index);
    return {{properties.name, concat("sm_", properties.major, properties.minor)},
            static_cast<index_t>(properties.totalGlobalMem)};
}

}  // namespace sy::cuda
