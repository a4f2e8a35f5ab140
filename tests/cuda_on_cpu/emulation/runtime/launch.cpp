#include <cuda_runtime_api.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "tests/cuda_on_cpu/emulation/engine/engine.hpp"
#include "tests/cuda_on_cpu/emulation/engine/halted.hpp"
#include "tests/cuda_on_cpu/emulation/engine/options.hpp"
#include "tests/cuda_on_cpu/emulation/runtime/graphs.hpp"
#include "tests/cuda_on_cpu/emulation/runtime/launch.hpp"
#include "tests/cuda_on_cpu/emulation/runtime/limits.hpp"
#include "tests/cuda_on_cpu/emulation/runtime/memory.hpp"
#include "tests/cuda_on_cpu/emulation/runtime/runtime.hpp"
#include "tests/cuda_on_cpu/emulation/runtime/streams.hpp"

namespace sy::emulation {
namespace {

using Guard = std::lock_guard<std::recursive_mutex>;

constexpr std::size_t kDynamicSharedBytes = 48 * 1024;  // without cudaFuncSetAttribute

std::map<const void*, std::size_t>& opted_in() {
    static std::map<const void*, std::size_t> bytes;
    return bytes;
}

std::size_t dynamic_shared_limit(const void* function) {
    const auto found = opted_in().find(function);
    return found == opted_in().end() ? kDynamicSharedBytes : found->second;
}

std::string describe(const dim3& shape) {
    std::array<char, 64> text{};
    std::snprintf(text.data(), text.size(), "(%u,%u,%u)", shape.x, shape.y, shape.z);
    return text.data();
}

std::string describe(const void* pointer) {
    std::array<char, 32> text{};
    std::snprintf(text.data(), text.size(), "%p", pointer);
    return text.data();
}

/// What a device would refuse, or the empty text.
std::string find_problem(const cudaLaunchConfig_t& config, const void* function) {
    const dim3& grid = config.gridDim;
    const dim3& block = config.blockDim;
    const std::size_t num_threads = std::size_t(block.x) * block.y * block.z;
    if (num_threads == 0 || num_threads > kMaxThreadsPerBlock || block.z > 64) {
        return "a block of " + describe(block) + " threads; 1 to 1024 are allowed, 64 in z";
    }
    if (grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.x > 0x7fffffffU || grid.y > 65535 ||
        grid.z > 65535) {
        return "a grid of " + describe(grid) +
               " blocks; 1 to 2147483647 are allowed in x, 1 to 65535 in y and z";
    }
    if (config.dynamicSmemBytes > dynamic_shared_limit(function)) {
        return std::to_string(config.dynamicSmemBytes) + " bytes of dynamic shared memory, more than " +
               std::to_string(dynamic_shared_limit(function)) +
               "; cudaFuncAttributeMaxDynamicSharedMemorySize allows up to " +
               std::to_string(kSharedLimitBytes);
    }
    for (unsigned i = 0; i < config.numAttrs; ++i) {
        switch (config.attrs[i].id) {
            case cudaLaunchAttributeIgnore:
            case cudaLaunchAttributeCooperative:
            case cudaLaunchAttributePriority:
            case cudaLaunchAttributeProgrammaticStreamSerialization:
                break;
            default:
                return "launch attribute " + std::to_string(int(config.attrs[i].id)) +
                       ", which is not emulated";
        }
    }
    return {};
}

bool is_cooperative(const cudaLaunchConfig_t& config) {
    for (unsigned i = 0; i < config.numAttrs; ++i) {
        if (config.attrs[i].id == cudaLaunchAttributeCooperative) return config.attrs[i].val.cooperative != 0;
    }
    return false;
}

/// When a kernel that waits for a word is tried again: as soon as any work has ended, and every now and then, for words that
/// other processes and the host write. To open the memory at each look of the host would cost more than all else.
class NextTry {
  public:
    bool is_due() const {
        return counters().num_finished != num_finished_ || std::chrono::steady_clock::now() > latest_;
    }

  private:
    std::int64_t num_finished_ = counters().num_finished;
    std::chrono::steady_clock::time_point latest_ =
        std::chrono::steady_clock::now() + std::chrono::microseconds(200);
};

}  // namespace

cudaError_t refuse_argument(std::size_t index, const void* pointer) {
    const Guard guard(runtime_mutex());
    report("argument " + std::to_string(index) + " of a kernel, " + describe(pointer) +
           (is_device_address(pointer) ? ", is device memory that is not live"
                                       : ", is neither device nor pinned memory"));
    break_device(cudaErrorIllegalAddress);
    return cudaErrorIllegalAddress;
}

cudaError_t enqueue_kernel(const cudaLaunchConfig_t& config, const void* function, std::function<void()> body,
                           std::function<const void*()> find_bad) {
    const Guard guard(runtime_mutex());
    if (sticky_error() != cudaSuccess) return sticky_error();
    const std::string problem = find_problem(config, function);
    if (!problem.empty()) {
        report("a kernel is launched with " + problem);
        return remember(cudaErrorInvalidConfiguration);
    }
    const CUstream_st* const stream = find_stream(config.stream);
    if (stream != nullptr && config.stream != nullptr && stream->device != current_device()) {
        report("a kernel is launched on a stream of device " + std::to_string(stream->device) +
               " by a thread that uses device " + std::to_string(current_device()));
        return remember(cudaErrorInvalidResourceHandle);
    }
    auto launch = std::make_shared<Launch>();
    launch->grid = config.gridDim;
    launch->block = config.blockDim;
    launch->dynamic_shared_bytes = config.dynamicSmemBytes;
    launch->is_cooperative = is_cooperative(config);
    launch->body = std::move(body);
    const std::size_t num_threads = std::size_t(config.blockDim.x) * config.blockDim.y * config.blockDim.z;
    const std::size_t num_blocks = std::size_t(config.gridDim.x) * config.gridDim.y * config.gridDim.z;
    if (launch->is_cooperative &&
        num_blocks > kNumMultiprocessors * (kMaxThreadsPerMultiprocessor / num_threads)) {
        return remember(cudaErrorCooperativeLaunchTooLarge);
    }
    const bool is_captured = config.stream != nullptr && is_capturing(config.stream);
    if (!is_captured && ++counters().num_launches == options().break_at) {
        report("the device breaks (SY_EMULATION_BREAK_AT)");
        break_device(cudaErrorECCUncorrectable);
        return sticky_error();
    }
    // The stream alone holds it, and drops it under its own identity.
    auto poll = [launch = std::move(launch), halted = std::shared_ptr<Scheduler>(),
                 next_try = NextTry()]() mutable {
        if (halted != nullptr && !next_try.is_due()) return false;
        const OpenDevice open;
        const std::shared_ptr<Scheduler> before = std::exchange(halted, nullptr);
        try {
            if (before == nullptr) {
                run_grid(*launch);
            } else {
                go_on(before);
            }
            return true;
        } catch (const GridHalted& here) {
            halted = here.grid;
            next_try = NextTry();
            return false;
        }
    };
    const auto find_problem = [find_bad = std::move(find_bad)] {
        const void* const bad = find_bad ? find_bad() : nullptr;
        return bad == nullptr ? std::string() : "is given memory that is gone: " + describe(bad);
    };
    return enqueue(config.stream, "kernel", std::move(poll), Opens::nothing, find_problem);
}

}  // namespace sy::emulation

using namespace sy::emulation;

extern "C" {

cudaError_t cudaFuncSetAttribute(const void* function, cudaFuncAttribute attribute, int value) {
    const Guard guard(runtime_mutex());
    if (sticky_error() != cudaSuccess) return sticky_error();
    if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize) return cudaSuccess;  // hints
    if (value < 0 || std::size_t(value) > kSharedLimitBytes) return remember(cudaErrorInvalidValue);
    opted_in()[function] = std::size_t(value);
    return cudaSuccess;
}

cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* num_blocks, const void*, int block_size,
                                                          std::size_t dynamic_bytes) {
    if (block_size <= 0 || unsigned(block_size) > kMaxThreadsPerBlock) return remember(cudaErrorInvalidValue);
    const std::size_t by_threads = kMaxThreadsPerMultiprocessor / std::size_t(block_size);
    const std::size_t by_memory = dynamic_bytes > 0 ? kSharedLimitBytes / dynamic_bytes : by_threads;
    *num_blocks = int(by_threads < by_memory ? by_threads : by_memory);
    return cudaSuccess;
}

}  // extern "C"
