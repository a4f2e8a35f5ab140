#include <cuda_runtime_api.h>
#include <sys/mman.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>

#include "tests/cuda_on_cpu/emulation/engine/options.hpp"
#include "tests/cuda_on_cpu/emulation/runtime/graphs.hpp"
#include "tests/cuda_on_cpu/emulation/runtime/memory.hpp"
#include "tests/cuda_on_cpu/emulation/runtime/runtime.hpp"
#include "tests/cuda_on_cpu/emulation/runtime/streams.hpp"

namespace sy::emulation {
namespace {

constexpr std::size_t kPageBytes = 4096;

struct Pinned {
    std::size_t bytes = 0;
    bool is_registered = false;  ///< the caller's own memory
};

std::map<const char*, Pinned>& pinned() {
    static std::map<const char*, Pinned> all;
    return all;
}

using Guard = std::lock_guard<std::recursive_mutex>;

cudaError_t allocate_pinned(void** pointer, std::size_t bytes) {
    const Guard guard(runtime_mutex());
    if (const cudaError_t error = check_unsafe("cudaMallocHost"); error != cudaSuccess) return error;
    if (sticky_error() != cudaSuccess) return sticky_error();
    if (pointer == nullptr) return remember(cudaErrorInvalidValue);
    const std::size_t room = (bytes + kPageBytes - 1) / kPageBytes * kPageBytes;
    *pointer = room > 0 ? std::aligned_alloc(kPageBytes, room) : nullptr;
    if (room > 0 && *pointer == nullptr) return remember(cudaErrorMemoryAllocation);
    if (room == 0) return cudaSuccess;
    std::memset(*pointer, 0xff, bytes);  // read before it was written, it is NaN or -1
    pinned()[static_cast<char*>(*pointer)] = {bytes};
    ++counters().num_allocations;
    return cudaSuccess;
}

/// Waits for the device, as freeing does. Without the lock: work may need what another thread has still to queue.
void wait_to_free() {
    {
        const Guard guard(runtime_mutex());
        ++counters().num_host_waits;
    }
    finish_all();
}

cudaError_t release_pinned(void* pointer, bool is_registered) {
    if (pointer == nullptr) return cudaSuccess;
    if (const cudaError_t error = check_unsafe("freeing memory"); error != cudaSuccess) return error;
    wait_to_free();
    const Guard guard(runtime_mutex());
    const auto found = pinned().find(static_cast<char*>(pointer));
    if (found == pinned().end() || found->second.is_registered != is_registered) {
        report("a pointer that is no pinned allocation was freed");
        return remember(is_registered ? cudaErrorHostMemoryNotRegistered : cudaErrorInvalidValue);
    }
    pinned().erase(found);
    if (!is_registered) std::free(pointer);
    return sticky_error();
}

}  // namespace

bool is_device(const void* first, std::size_t bytes) {
    return device_memory().is_live(first, bytes);
}

bool is_device_address(const void* at) {
    return device_memory().holds_address(at);
}

bool is_pinned(const void* first, std::size_t bytes) {
    auto after = pinned().upper_bound(static_cast<const char*>(first));
    if (after == pinned().begin()) return false;
    --after;
    return static_cast<const char*>(first) + bytes <= after->first + after->second.bytes;
}

bool is_pageable_address(const void* at) {
    // Counts and pairs of them are smaller than addresses of programs that are loaded anywhere, and so are the shadows of
    // sanitizers; floats are larger. The system knows the rest.
    constexpr std::uintptr_t kLowest = std::uintptr_t(0x5000) << 32;
    constexpr std::uintptr_t kHighest = std::uintptr_t(1) << 47;
    const auto address = reinterpret_cast<std::uintptr_t>(at);
    if (address < kLowest || address >= kHighest || is_pinned(at, 0)) return false;
    unsigned char is_resident = 0;
    void* const page = reinterpret_cast<void*>(address / kPageBytes * kPageBytes);
    return mincore(page, kPageBytes, &is_resident) == 0;
}

}  // namespace sy::emulation

using namespace sy::emulation;

extern "C" {

cudaError_t cudaMalloc(void** pointer, std::size_t bytes) {
    const Guard guard(runtime_mutex());
    if (const cudaError_t error = check_unsafe("cudaMalloc"); error != cudaSuccess) return error;
    if (sticky_error() != cudaSuccess) return sticky_error();
    if (pointer == nullptr) return remember(cudaErrorInvalidValue);
    *pointer = bytes > 0 ? device_memory().allocate(bytes) : nullptr;
    if (bytes > 0 && *pointer == nullptr) return remember(cudaErrorMemoryAllocation);
    ++counters().num_allocations;
    return cudaSuccess;
}

cudaError_t cudaFree(void* pointer) {
    if (pointer == nullptr) return cudaSuccess;
    if (const cudaError_t error = check_unsafe("freeing memory"); error != cudaSuccess) return error;
    wait_to_free();
    const Guard guard(runtime_mutex());
    if (!device_memory().free(pointer)) {
        report("cudaFree of a pointer that is no live allocation");
        return remember(cudaErrorInvalidValue);
    }
    return sticky_error();
}

cudaError_t cudaMallocAsync(void** pointer, std::size_t bytes, cudaStream_t) {
    return cudaMalloc(pointer, bytes);
}

cudaError_t cudaFreeAsync(void* pointer, cudaStream_t stream) {
    if (pointer == nullptr) return cudaSuccess;
    if (const std::shared_ptr<Capture> capture = capture_of(stream))
        return refuse_captured(*capture, "cudaFreeAsync (not emulated)");
    return enqueue(stream, "cudaFreeAsync", [pointer] {
        if (!device_memory().free(pointer)) {
            report("cudaFreeAsync of a pointer that is no live allocation");
            break_device(cudaErrorInvalidValue);
        }
        return true;
    });
}

cudaError_t cudaMallocHost(void** pointer, std::size_t bytes) {
    return allocate_pinned(pointer, bytes);
}

cudaError_t cudaHostAlloc(void** pointer, std::size_t bytes, unsigned) {
    return allocate_pinned(pointer, bytes);
}

cudaError_t cudaFreeHost(void* pointer) {
    return release_pinned(pointer, false);
}

cudaError_t cudaHostRegister(void* pointer, std::size_t bytes, unsigned) {
    const Guard guard(runtime_mutex());
    if (pointer == nullptr || bytes == 0) return remember(cudaErrorInvalidValue);
    if (is_pinned(pointer, 1)) return remember(cudaErrorHostMemoryAlreadyRegistered);
    pinned()[static_cast<char*>(pointer)] = {bytes, true};
    return cudaSuccess;
}

cudaError_t cudaHostUnregister(void* pointer) {
    return release_pinned(pointer, true);
}

cudaError_t cudaMemGetInfo(std::size_t* free_bytes, std::size_t* total_bytes) {
    const Guard guard(runtime_mutex());
    if (sticky_error() != cudaSuccess) return sticky_error();
    *total_bytes = options().memory_bytes;
    *free_bytes = options().memory_bytes - device_memory().used_bytes();
    return cudaSuccess;
}

cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* pointer) {
    const Guard guard(runtime_mutex());
    *attributes = {};
    const bool on_device = is_device(pointer, 0);
    const bool on_host = is_pinned(pointer, 0);
    attributes->type = on_device ? cudaMemoryTypeDevice
                       : on_host ? cudaMemoryTypeHost
                                 : cudaMemoryTypeUnregistered;
    if (on_device || on_host) attributes->devicePointer = const_cast<void*>(pointer);
    if (!on_device) attributes->hostPointer = const_cast<void*>(pointer);
    return cudaSuccess;
}

}  // extern "C"
