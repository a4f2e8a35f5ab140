#include "tests/cuda_on_cpu/ptx/launch.hpp"

#include <cuda_runtime_api.h>

#include <cstring>
#include <utility>

#include "tests/cuda_on_cpu/emulation/runtime/launch.hpp"
#include "tests/cuda_on_cpu/ptx/frame.hpp"

namespace sy::emulation::ptx {
namespace {

/// The first pointer that no kernel can follow: not every compiler marks pointers, so that an integer that would be device
/// memory counts as one. What is inside of structures is looked at when it is followed.
const Piece* find_bad_pointer(const Function& kernel, void** arguments, const void*& pointer) {
    for (std::size_t i = 0; i < kernel.parameters.size(); ++i) {
        const Piece& parameter = kernel.parameters[i];
        if (parameter.bytes != sizeof pointer) continue;
        std::memcpy(&pointer, arguments[i], sizeof pointer);
        const bool may_be_pointer = parameter.is_pointer || is_device_address(pointer);
        if (may_be_pointer && pointer != nullptr && !is_device(pointer, 0) && !is_pinned(pointer, 0)) {
            return &parameter;
        }
    }
    return nullptr;
}

}  // namespace

cudaError_t enqueue(const cudaLaunchConfig_t& config, const void* function,
                    std::shared_ptr<const Module> module, const std::string& kernel, void** arguments) {
    const auto found = module->functions.find(kernel);
    if (found == module->functions.end() || !found->second.is_kernel) {
        report("a launch of " + kernel + ", which the PTX does not have");
        return remember(cudaErrorInvalidDeviceFunction);
    }
    const Function& entry = found->second;
    const void* pointer = nullptr;
    if (const Piece* bad = find_bad_pointer(entry, arguments, pointer); bad != nullptr) {
        return refuse_argument(std::size_t(bad - entry.parameters.data()), pointer);
    }
    const std::size_t num_threads = std::size_t(config.blockDim.x) * config.blockDim.y * config.blockDim.z;
    if (entry.most_threads > 0 && num_threads > entry.most_threads) {
        report("a block of " + std::to_string(num_threads) + " threads, of a kernel that is compiled for " +
               std::to_string(entry.most_threads));
        return remember(cudaErrorInvalidConfiguration);
    }
    auto grid = std::make_shared<Grid>(Grid{*module, entry, {}, config.dynamicSmemBytes, {}, 0});
    for (std::size_t i = 0; i < entry.parameters.size(); ++i) {
        const Piece& to = entry.parameters[i];
        grid->arguments.resize(to.offset + to.bytes);
        std::memcpy(grid->arguments.data() + to.offset, arguments[i], to.bytes);
    }
    return enqueue_kernel(config, function,
                          [grid = std::move(grid), module = std::move(module)] { run_thread_of(*grid); });
}

}  // namespace sy::emulation::ptx
