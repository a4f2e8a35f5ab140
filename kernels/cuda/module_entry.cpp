// The symbol of libswitchyard_cuda.so that the program looks up (kernels/cuda/module.hpp).
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <optional>

#include "kernels/cuda/cuda_bodies.hpp"
#include "kernels/cuda/cuda_device.hpp"
#include "kernels/cuda/module.hpp"

namespace {

/// Null where none is named: then the fastest is measured.
std::optional<sy::cuda::GroupMethod> named_group_method() {
    // NOLINTNEXTLINE(concurrency-mt-unsafe): nothing changes the environment
    const char* const name = std::getenv("SWITCHYARD_CUDA_GROUPS");
    if (name == nullptr) return std::nullopt;
    return sy::cuda::parse_group_method(name);
}

}  // namespace

extern "C" void switchyard_use_cuda(sy::CudaModuleCall& call) {
    const auto refuse = [&](const char* reason) {
        std::snprintf(call.message, sizeof(call.message), "%s", reason);
    };
    if (call.device_bytes != sizeof(sy::Gpu) || call.bodies_bytes != sizeof(sy::ops::Bodies)) {
        refuse("the module of CUDA is of another version than the program; build both from the same sources");
        return;
    }
    // Nothing is thrown through a C symbol.
    try {
        if (call.index == sy::CudaModuleCall::kList) {
            call.gpus = sy::cuda::visible_gpus();
        } else {
            call.device = new sy::CudaDevice({.index = call.index,
                                              .find_product_library = sy::cuda::find_cublas,
                                              .group_method = named_group_method()},
                                             sy::ops::kCudaBodies);
        }
    } catch (const std::exception& error) {
        refuse(error.what());
    }
}
