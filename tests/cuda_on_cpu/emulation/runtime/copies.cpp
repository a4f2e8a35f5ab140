#include <cuda_runtime_api.h>

#include <cstring>
#include <string>

#include "tests/cuda_on_cpu/emulation/engine/sanitizer.hpp"
#include "tests/cuda_on_cpu/emulation/runtime/graphs.hpp"
#include "tests/cuda_on_cpu/emulation/runtime/runtime.hpp"
#include "tests/cuda_on_cpu/emulation/runtime/streams.hpp"

namespace sy::emulation {
namespace {

using Guard = std::lock_guard<std::recursive_mutex>;

/// Rows of bytes; one row for what is contiguous.
struct Copy {
    void* to = nullptr;
    std::size_t to_pitch = 0;
    const void* from = nullptr;
    std::size_t from_pitch = 0;
    std::size_t row_bytes = 0;
    std::size_t num_rows = 1;
    cudaMemcpyKind kind = cudaMemcpyDefault;
};
enum class Wait { always, if_pageable };

std::size_t extent(std::size_t pitch, const Copy& copy) {
    return copy.num_rows == 0 ? 0 : pitch * (copy.num_rows - 1) + copy.row_bytes;
}

const char* describe(const void* first, std::size_t bytes) {
    if (is_device(first, bytes)) return "device memory";
    return is_device_address(first) ? "device memory that is not live, or shorter" : "memory of the host";
}

/// Whether the ends are where the kind says. Reports those that are not.
bool is_as_declared(const Copy& copy) {
    const std::size_t to_bytes = extent(copy.to_pitch, copy);
    const std::size_t from_bytes = extent(copy.from_pitch, copy);
    const bool to_device = is_device(copy.to, to_bytes);
    const bool from_device = is_device(copy.from, from_bytes);
    const bool to_host = !is_device_address(copy.to);
    const bool from_host = !is_device_address(copy.from);
    bool is_right = false;
    switch (copy.kind) {
        case cudaMemcpyHostToDevice:
            is_right = to_device && from_host;
            break;
        case cudaMemcpyDeviceToHost:
            is_right = to_host && from_device;
            break;
        case cudaMemcpyDeviceToDevice:
            is_right = to_device && from_device;
            break;
        case cudaMemcpyHostToHost:
            is_right = to_host && from_host;
            break;
        case cudaMemcpyDefault:
            is_right = (to_device || to_host) && (from_device || from_host);
            break;
    }
    if (!is_right) {
        report("a copy of " + std::to_string(from_bytes) + " bytes and kind " +
               std::to_string(int(copy.kind)) + " from " + describe(copy.from, from_bytes) + " to " +
               describe(copy.to, to_bytes));
    }
    return is_right;
}

bool is_pageable(const void* first, std::size_t bytes) {
    return !is_device_address(first) && !is_pinned(first, bytes);
}

void run(const Copy& copy) {
    for (std::size_t row = 0; row < copy.num_rows; ++row) {
        char* to = static_cast<char*>(copy.to) + row * copy.to_pitch;
        const char* from = static_cast<const char*>(copy.from) + row * copy.from_pitch;
        sanitizer::read(from, copy.row_bytes);
        sanitizer::write(to, copy.row_bytes);
        std::memmove(to, from, copy.row_bytes);
    }
}

cudaError_t enqueue_copy(const Copy& copy, cudaStream_t handle, Wait wait) {
    std::unique_lock lock(runtime_mutex());
    if (sticky_error() != cudaSuccess) return sticky_error();
    CUstream_st* stream = find_stream(handle);
    if (stream == nullptr) return remember(cudaErrorInvalidResourceHandle);
    if (copy.row_bytes == 0 || copy.num_rows == 0) return cudaSuccess;
    if (copy.num_rows > 1 && (copy.row_bytes > copy.to_pitch || copy.row_bytes > copy.from_pitch)) {
        return remember(cudaErrorInvalidPitchValue);
    }
    if (!is_as_declared(copy)) return remember(cudaErrorInvalidValue);
    const bool waits = wait == Wait::always || is_pageable(copy.to, extent(copy.to_pitch, copy)) ||
                       is_pageable(copy.from, extent(copy.from_pitch, copy));
    if (wait == Wait::always) {
        if (const cudaError_t refused = check_unsafe("cudaMemcpy"); refused != cudaSuccess) return refused;
    }
    const std::shared_ptr<Capture> capture = capture_of(stream);
    if (capture != nullptr && waits)
        return refuse_captured(*capture, "a copy from or to pageable memory of the host");
    if (capture == nullptr) ++counters().num_copies;
    const auto poll = [copy] {
        run(copy);
        return true;
    };
    const auto find_problem = [copy] {
        return is_as_declared(copy) ? std::string() : std::string("uses memory that is gone");
    };
    const cudaError_t error = enqueue(handle, "copy", poll, Opens::memory, find_problem);
    if (!waits || error != cudaSuccess) return error;
    ++counters().num_host_waits;  // the runtime is done with pageable memory when it returns
    lock.unlock();
    return finish(*stream);
}

cudaError_t enqueue_fill(void* to, int value, std::size_t bytes, cudaStream_t stream) {
    const Guard guard(runtime_mutex());
    if (sticky_error() != cudaSuccess) return sticky_error();
    if (bytes == 0) return cudaSuccess;
    if (!is_device(to, bytes)) {
        report("cudaMemset of " + std::to_string(bytes) + " bytes of " + describe(to, bytes));
        return remember(cudaErrorInvalidValue);
    }
    return enqueue(stream, "fill", [=] {
        sanitizer::write(to, bytes);
        std::memset(to, value, bytes);
        return true;
    });
}

}  // namespace
}  // namespace sy::emulation

using namespace sy::emulation;

extern "C" {

cudaError_t cudaMemcpy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind) {
    return enqueue_copy({to, bytes, from, bytes, bytes, 1, kind}, nullptr, Wait::always);
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
    return enqueue_copy({to, bytes, from, bytes, bytes, 1, kind}, stream, Wait::if_pageable);
}

cudaError_t cudaMemcpy2DAsync(void* to, std::size_t to_pitch, const void* from, std::size_t from_pitch,
                              std::size_t row_bytes, std::size_t num_rows, cudaMemcpyKind kind,
                              cudaStream_t stream) {
    return enqueue_copy({to, to_pitch, from, from_pitch, row_bytes, num_rows, kind}, stream,
                        Wait::if_pageable);
}

cudaError_t cudaMemcpy2D(void* to, std::size_t to_pitch, const void* from, std::size_t from_pitch,
                         std::size_t row_bytes, std::size_t num_rows, cudaMemcpyKind kind) {
    return enqueue_copy({to, to_pitch, from, from_pitch, row_bytes, num_rows, kind}, nullptr, Wait::always);
}

cudaError_t cudaMemsetAsync(void* to, int value, std::size_t bytes, cudaStream_t stream) {
    return enqueue_fill(to, value, bytes, stream);
}

cudaError_t cudaMemset(void* to, int value, std::size_t bytes) {
    return enqueue_fill(to, value, bytes, nullptr);
}

}  // extern "C"
