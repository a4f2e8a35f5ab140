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
    if (const char* const named = std::getenv(kCudaModuleVariable)) return {named};
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
               "-DSY_WITH_CUDA=ON (which needs nvcc), and name it in ",
               kCudaModuleVariable, " where it is not beside the program. Tried:", attempts));
}

}  // namespace

void* find_in_cuda_module(const char* symbol) {
    void* const found = dlsym(load_module(), symbol);
    if (found == nullptr)
        throw ConfigError(concat("the module of CUDA has no ", symbol,
                                 "; it is not one of this program, or was built without it"));
    return found;
}

namespace {

/// @throws ConfigError with the module's own message
CudaModuleCall call_module(int index) {
    auto* const entry = reinterpret_cast<CudaModuleEntry*>(find_in_cuda_module(kCudaModuleSymbol));
    CudaModuleCall call;
    call.device_bytes = sizeof(Gpu);
    call.bodies_bytes = sizeof(ops::Bodies);
    call.index = index;
    entry(call);
    if (call.message[0] != '\0') throw ConfigError(concat("a GPU cannot be used: ", call.message));
    return call;
}

}  // namespace

std::vector<std::string> visible_gpus() {
    return call_module(CudaModuleCall::kList).gpus;
}

std::unique_ptr<Gpu> make_cuda_device(int index) {
    return std::unique_ptr<Gpu>(call_module(index).device);
}

}  // namespace sy
