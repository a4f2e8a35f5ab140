#pragma once

#include <cstddef>
#include <memory>

#include "kernels/core/device.hpp"

/// How a program without CUDA comes to a GPU: the bodies of CUDA and their device are a module, libswitchyard_cuda.so (built
/// with SY_WITH_CUDA), which is loaded where a GPU is wanted.
namespace sy {

/// A GPU as a device. The module is looked for where SWITCHYARD_CUDA_MODULE says, beside the program, in ../lib from there,
/// and where the system looks.
/// @param index  among the visible GPUs
/// @throws ConfigError saying why it cannot be used: no module, one of another version, no driver or an old one, no GPU
std::unique_ptr<Device> make_cuda_device(int index);

/// What the program asks the module's only symbol for, and what that answers with.
struct CudaModuleCall {
    std::size_t device_bytes = 0;  ///< sizeof(Device) and
    std::size_t bodies_bytes =
        0;  ///< sizeof(ops::Bodies): programs and modules of different versions do not fit
    int index = 0;
    Device* device = nullptr;  ///< the caller owns it; null: `message` says why
    char message[1024] = {};
};
using CudaModuleEntry = void(CudaModuleCall& call);
inline constexpr const char* kCudaModuleSymbol = "switchyard_make_cuda_device";

}  // namespace sy
