#pragma once

#include <cuda_runtime.h>

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "tests/cuda_on_cpu/emulation/engine/options.hpp"
#include "tests/cuda_on_cpu/emulation/runtime/runtime.hpp"
#include "tests/cuda_on_cpu/suites/kernel_memory.hpp"

namespace sy::emulation {

/// Options that a test changes, and a device that it may break: both are as before afterwards.
class Machine {
  public:
    Machine() : before_(options()) {}
    Machine(const Machine&) = delete;
    Machine& operator=(const Machine&) = delete;
    ~Machine() {
        recover();
        options() = before_;
    }

  private:
    Options before_;
};

class Stream {
  public:
    Stream() { REQUIRE(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking) == cudaSuccess); }
    Stream(const Stream&) = delete;
    Stream& operator=(const Stream&) = delete;
    ~Stream() { cudaStreamDestroy(stream_); }
    operator cudaStream_t() const { return stream_; }

  private:
    cudaStream_t stream_ = nullptr;
};

/// Device memory of some values.
template <typename T>
class DeviceArray {
  public:
    explicit DeviceArray(std::size_t size) : size_(size) {
        void* raw = nullptr;
        REQUIRE(cudaMalloc(&raw, size * sizeof(T)) == cudaSuccess);
        first_ = static_cast<T*>(raw);
    }
    explicit DeviceArray(const std::vector<T>& values) : DeviceArray(values.size()) {
        REQUIRE(cudaMemcpy(first_, values.data(), size_ * sizeof(T), cudaMemcpyHostToDevice) == cudaSuccess);
    }
    DeviceArray(const DeviceArray&) = delete;
    DeviceArray& operator=(const DeviceArray&) = delete;
    ~DeviceArray() { cudaFree(first_); }
    T* get() const { return first_; }
    std::vector<T> to_host() const {
        std::vector<T> values(size_);
        REQUIRE(cudaMemcpy(values.data(), first_, size_ * sizeof(T), cudaMemcpyDeviceToHost) == cudaSuccess);
        return values;
    }

  private:
    std::size_t size_;
    T* first_ = nullptr;
};

/// Queues a kernel on a stream.
template <typename... Parameters, typename... Arguments>
cudaError_t queue(cudaStream_t stream, dim3 grid, dim3 block, void (*kernel)(Parameters...),
                  const Arguments&... arguments) {
    cudaLaunchConfig_t config{};
    config.gridDim = grid;
    config.blockDim = block;
    config.stream = stream;
    return cudaLaunchKernelEx(&config, kernel, arguments...);
}

/// Queues a kernel on a stream of its own and waits for it.
template <typename... Parameters, typename... Arguments>
cudaError_t run(dim3 grid, dim3 block, void (*kernel)(Parameters...), const Arguments&... arguments) {
    const Stream stream;
    const cudaError_t error = queue(stream, grid, block, kernel, arguments...);
    return error == cudaSuccess ? cudaStreamSynchronize(stream) : error;
}

}  // namespace sy::emulation
