#include "kernels/cuda/module.hpp"

#include <dlfcn.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <system_error>
#include <vector>

#include "kernels/ops/bodies.hpp"

namespace sy {
namespace {

constexpr const char* kFile = "libswitchyard_cuda.so";

/// Where the module may be, in this order.
std::vector<std::string> module_places() {
    // NOLINTNEXTLINE(concurrency-mt-unsafe): nothing changes the environment
    if (const char* const named = std::getenv("SWITCHYARD_CUDA_MODULE")) return {named};
    std::vector<std::string> places;
    std::error_code ignored;  // without /proc the system's own places remain
    const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe", ignored);
    if (!program.empty()) {
        places.push_back((program.parent_path() / kFile).string());
        places.push_back((program.parent_path().parent_path() / "lib" / kFile).string());
    }
    places.emplace_back(kFile);
    return places;
}

/// @throws ConfigError naming each place, and why none of them would do
void* load_module() {
    std::string attempts;
    for (const std::string& place : module_places()) {
        // It is never unloaded: devices and exceptions of it may outlive whoever asked for it.
        if (void* const module = dlopen(place.c_str(), RTLD_NOW | RTLD_LOCAL)) return module;
        attempts += concat("\n  ", dlerror());  // NOLINT(concurrency-mt-unsafe): of this thread
    }
    throw ConfigError(
        concat("a GPU cannot be used: the module of CUDA was not found; build it with "
               "-DSY_WITH_CUDA=ON (which needs nvcc), and name it in SWITCHYARD_CUDA_MODULE where it "
               "is not beside the program. Tried:",
               attempts));
}

}  // namespace

std::unique_ptr<Device> make_cuda_device(int index) {
    void* const module = load_module();
    auto* const entry = reinterpret_cast<CudaModuleEntry*>(dlsym(module, kCudaModuleSymbol));
    if (entry == nullptr)
        throw ConfigError(concat("a GPU cannot be used: the module of CUDA has no ", kCudaModuleSymbol,
                                 "; it is not one of this program"));
    CudaModuleCall call;
    call.device_bytes = sizeof(Device);
    call.bodies_bytes = sizeof(ops::Bodies);
    call.index = index;
    entry(call);
    if (call.device == nullptr) throw ConfigError(concat("a GPU cannot be used: ", call.message));
    return std::unique_ptr<Device>(call.device);
}

}  // namespace sy
