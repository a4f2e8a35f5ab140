// The symbol of libswitchyard_cuda.so that the program looks up (kernels/cuda/module.hpp).
#include <cstdio>
#include <exception>

#include "kernels/cuda/cuda_bodies.hpp"
#include "kernels/cuda/cuda_device.hpp"
#include "kernels/cuda/module.hpp"

extern "C" void switchyard_make_cuda_device(sy::CudaModuleCall& call) {
    const auto refuse = [&](const char* reason) {
        std::snprintf(call.message, sizeof(call.message), "%s", reason);
    };
    if (call.device_bytes != sizeof(sy::Device) || call.bodies_bytes != sizeof(sy::ops::Bodies)) {
        refuse("the module of CUDA is of another version than the program; build both from the same sources");
        return;
    }
    // Nothing is thrown through a C symbol.
    try {
        call.device = new sy::CudaDevice({.index = call.index}, sy::ops::kCudaBodies);
    } catch (const std::exception& error) {
        refuse(error.what());
    }
}
