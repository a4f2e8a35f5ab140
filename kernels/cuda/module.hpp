#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "kernels/cuda/gpu.hpp"

/// How a program without CUDA comes to a GPU: the bodies of CUDA and their device are a module, libswitchyard_cuda.so (built
/// with SY_WITH_CUDA), which is loaded where a GPU is wanted. It is looked for where SWITCHYARD_CUDA_MODULE says, beside the
/// program, in ../lib from there, and where the system looks.
namespace sy {

inline constexpr const char* kCudaModuleVariable = "SWITCHYARD_CUDA_MODULE";

/// What tells each GPU that this process sees from all others, of this and of other nodes.
/// @throws ConfigError saying why none can be used: no module, one of another version, no driver or an old one, no GPU
std::vector<std::string> visible_gpus();

/// A GPU as a device.
/// @param index  among visible_gpus()
/// @throws ConfigError as above, and where there is no such GPU
std::unique_ptr<Gpu> make_cuda_device(int index);

/// A symbol of the module, for what needs CUDA besides the device (comm/nccl).
/// @throws ConfigError when there is no module, or when it was built without the symbol
void* find_in_cuda_module(const char* symbol);

/// What the program asks the module's symbol for a device for, and what that answers with.
struct CudaModuleCall {
    static constexpr int kList = -1;

    std::size_t device_bytes = 0;  ///< sizeof(Gpu) and
    std::size_t bodies_bytes =
        0;                    ///< sizeof(ops::Bodies): programs and modules of different versions do not fit
    char message[1024] = {};  ///< why there is no answer; empty where there is
    int index = kList;        ///< of the GPU that `device` is to be; kList: `gpus` are wanted
    Gpu* device = nullptr;    ///< the caller owns it
    std::vector<std::string> gpus;
};
using CudaModuleEntry = void(CudaModuleCall& call);
inline constexpr const char* kCudaModuleSymbol = "switchyard_use_cuda";

}  // namespace sy
