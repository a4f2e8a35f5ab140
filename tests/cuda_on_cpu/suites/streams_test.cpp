#include <map>

#include "tests/cuda_on_cpu/suites/support.hpp"

using namespace sy::emulation;
using Catch::Matchers::Contains;

namespace {

void add(float* values, int size, float value) {
    const int i = int(blockIdx.x * blockDim.x + threadIdx.x);
    if (i < size) values[i] += value;
}

void wait_for_ever(int* flag) {
    if (threadIdx.x < 8) __syncthreads();
    if (threadIdx.x == 9) *flag = 1;
}

void misuse_barrier(int which) {
    if (which == 0 && threadIdx.x < 16) __ballot_sync(0xffff0000U, 1);
    if (which == 1) __shfl_sync(0xffffffffU, 1, 0, 12);
    if (which == 2 && threadIdx.x < 4) __shfl_sync(0x0fU, 1, 9);
    if (which == 3) {
        if (threadIdx.x < 16) {
            __ballot_sync(0xffffffffU, 1);
        } else {
            __shfl_sync(0xffffffffU, 1, 0);
        }
    }
    if (which == 4 && threadIdx.x == 5) __trap();
}

bool all_are(const std::vector<float>& values, float expected) {
    for (const float value : values) {
        if (value != expected) return false;
    }
    return true;
}

template <typename T>
class PinnedArray {
  public:
    explicit PinnedArray(std::size_t size) {
        void* raw = nullptr;
        REQUIRE(cudaMallocHost(&raw, size * sizeof(T)) == cudaSuccess);
        first_ = static_cast<T*>(raw);
    }
    PinnedArray(const PinnedArray&) = delete;
    PinnedArray& operator=(const PinnedArray&) = delete;
    ~PinnedArray() { cudaFreeHost(first_); }
    T* get() const { return first_; }

  private:
    T* first_ = nullptr;
};

class Event {
  public:
    Event() { REQUIRE(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming) == cudaSuccess); }
    Event(const Event&) = delete;
    Event& operator=(const Event&) = delete;
    ~Event() { cudaEventDestroy(event_); }
    operator cudaEvent_t() const { return event_; }

  private:
    cudaEvent_t event_ = nullptr;
};

}  // namespace

TEST_CASE("cuda_on_cpu: work waits in its stream until something waits for it", "[unit][races]") {
    const Machine machine;
    const Stream stream;
    const DeviceArray<float> values(std::vector<float>(64, 1.0F));
    const PinnedArray<float> staging(64);
    REQUIRE(queue(stream, dim3(1), dim3(64), add, values.get(), 64, 2.0F) == cudaSuccess);
    REQUIRE(cudaMemcpyAsync(staging.get(), values.get(), 256, cudaMemcpyDeviceToHost, stream) == cudaSuccess);
    REQUIRE(staging.get()[0] != staging.get()[0]);  // still as allocated: NaN
    REQUIRE(cudaStreamQuery(stream) == cudaErrorNotReady);
    REQUIRE(cudaStreamSynchronize(stream) == cudaSuccess);
    REQUIRE(all_are(std::vector(staging.get(), staging.get() + 64), 3.0F));
    REQUIRE(cudaStreamQuery(stream) == cudaSuccess);
}

TEST_CASE("cuda_on_cpu: queries alone bring work to its end", "[unit]") {
    const Machine machine;
    for (const Order order : {Order::fifo, Order::reverse, Order::random}) {
        options().order = order;
        const Stream first;
        const Stream second;
        const Event event;
        const DeviceArray<float> values(std::vector<float>(64, 1.0F));
        REQUIRE(queue(first, dim3(1), dim3(64), add, values.get(), 64, 2.0F) == cudaSuccess);
        REQUIRE(cudaEventRecord(event, first) == cudaSuccess);
        REQUIRE(cudaStreamWaitEvent(second, event, 0) == cudaSuccess);
        REQUIRE(queue(second, dim3(1), dim3(64), add, values.get(), 64, 4.0F) == cudaSuccess);
        int num_queries = 0;
        while (cudaStreamQuery(second) == cudaErrorNotReady) REQUIRE(++num_queries < 100);
        REQUIRE(all_are(values.to_host(), 7.0F));
    }
}

TEST_CASE("cuda_on_cpu: a wait is for the record that was last when it was called", "[unit]") {
    const Machine machine;
    const Stream first;
    const Stream second;
    const Event event;
    const DeviceArray<float> values(std::vector<float>(64, 1.0F));
    REQUIRE(cudaEventRecord(event, first) == cudaSuccess);
    REQUIRE(cudaStreamWaitEvent(second, event, 0) == cudaSuccess);
    REQUIRE(queue(second, dim3(1), dim3(64), add, values.get(), 64, 2.0F) == cudaSuccess);
    // The first stream waits for the second, and records again: no circle, since the wait above is for the first record.
    const Event end;
    REQUIRE(cudaEventRecord(end, second) == cudaSuccess);
    REQUIRE(cudaStreamWaitEvent(first, end, 0) == cudaSuccess);
    REQUIRE(cudaEventRecord(event, first) == cudaSuccess);
    REQUIRE(cudaEventSynchronize(event) == cudaSuccess);
    REQUIRE(all_are(values.to_host(), 3.0F));
}

TEST_CASE("cuda_on_cpu: the default stream does not wait for streams that do not wait for it",
          "[unit][races]") {
    const Machine machine;
    const Stream stream;
    const DeviceArray<float> values(std::vector<float>(64, 1.0F));
    REQUIRE(queue(stream, dim3(1), dim3(64), add, values.get(), 64, 2.0F) == cudaSuccess);
    REQUIRE(all_are(values.to_host(), 1.0F));  // a copy of the default stream
    REQUIRE(cudaStreamSynchronize(stream) == cudaSuccess);
    REQUIRE(all_are(values.to_host(), 3.0F));
}

TEST_CASE("cuda_on_cpu: launches, waits, copies and allocations are counted", "[unit]") {
    const Machine machine;
    const Stream stream;
    const Event event;
    const DeviceArray<float> values(std::vector<float>(64, 1.0F));
    const PinnedArray<float> staging(64);
    std::vector<float> pageable(64);
    counters() = {};
    REQUIRE(queue(stream, dim3(1), dim3(64), add, values.get(), 64, 2.0F) == cudaSuccess);
    REQUIRE(queue(stream, dim3(1), dim3(64), add, values.get(), 64, 2.0F) == cudaSuccess);
    REQUIRE(cudaMemcpyAsync(staging.get(), values.get(), 256, cudaMemcpyDeviceToHost, stream) == cudaSuccess);
    REQUIRE(counters().num_launches == 2);
    REQUIRE(counters().num_copies == 1);
    REQUIRE(counters().num_host_waits == 0);
    REQUIRE(cudaMemcpyAsync(pageable.data(), values.get(), 256, cudaMemcpyDeviceToHost, stream) ==
            cudaSuccess);
    REQUIRE(counters().num_host_waits == 1);
    REQUIRE(cudaStreamSynchronize(stream) == cudaSuccess);
    REQUIRE(cudaEventSynchronize(event) == cudaSuccess);
    REQUIRE(cudaDeviceSynchronize() == cudaSuccess);
    REQUIRE(counters().num_host_waits == 4);
    REQUIRE(counters().num_allocations == 0);
    REQUIRE(counters().num_default_stream_calls == 0);
    void* more = nullptr;
    REQUIRE(cudaMalloc(&more, 16) == cudaSuccess);
    REQUIRE(cudaMemset(more, 0, 16) == cudaSuccess);
    REQUIRE(cudaFree(more) == cudaSuccess);
    REQUIRE(counters().num_allocations == 1);
    REQUIRE(counters().num_host_waits == 5);
    REQUIRE(counters().num_default_stream_calls == 1);
}

TEST_CASE("cuda_on_cpu: a deadlock is reported with what each thread waits for", "[unit]") {
    const Machine machine;
    const DeviceArray<int> flag(1);
    REQUIRE(run(dim3(2), dim3(32), wait_for_ever, flag.get()) == cudaErrorLaunchFailure);
    REQUIRE_THAT(last_report(), Contains("deadlock in block (0,0,0)"));
    REQUIRE_THAT(last_report(), Contains("[8 threads: barrier at"));
    REQUIRE_THAT(last_report(), Contains("[24 threads: exited]"));
    REQUIRE(cudaDeviceSynchronize() == cudaErrorLaunchFailure);  // it stays
    void* more = nullptr;
    REQUIRE(cudaMalloc(&more, 16) == cudaErrorLaunchFailure);
    recover();
    REQUIRE(cudaDeviceSynchronize() == cudaSuccess);
}

TEST_CASE("cuda_on_cpu: misuse of a warp's exchanges is named", "[unit]") {
    const Machine machine;
    const std::vector<std::string> expected{"the calling lane is not in mask ffff0000", "shuffle of width 12",
                                            "shuffle reads lane 9, which is not in mask",
                                            "lanes of the same mask ffffffff are in another operation",
                                            "thread (5,0,0)"};
    for (int which = 0; which < 5; ++which) {
        REQUIRE(run(dim3(1), dim3(32), misuse_barrier, which) == cudaErrorLaunchFailure);
        REQUIRE_THAT(last_report(), Contains(expected[std::size_t(which)]));
        recover();
    }
}

TEST_CASE("cuda_on_cpu: launches that a device would refuse are refused with the reason", "[unit]") {
    const Machine machine;
    const Stream stream;
    const DeviceArray<float> values(std::vector<float>(64, 1.0F));
    const auto refused = [&](dim3 grid, dim3 block, std::size_t dynamic_bytes) {
        cudaLaunchConfig_t config{};
        config.gridDim = grid;
        config.blockDim = block;
        config.dynamicSmemBytes = dynamic_bytes;
        config.stream = stream;
        const cudaError_t error = cudaLaunchKernelEx(&config, add, values.get(), 64, 1.0F);
        if (error != cudaSuccess) REQUIRE(cudaGetLastError() == error);
        return error == cudaErrorInvalidConfiguration;
    };
    REQUIRE(refused(dim3(0), dim3(32), 0));
    REQUIRE_THAT(last_report(), Contains("a grid of (0,1,1) blocks"));
    REQUIRE(refused(dim3(1, 65536), dim3(32), 0));
    REQUIRE(refused(dim3(1), dim3(1025), 0));
    REQUIRE(refused(dim3(1), dim3(2, 2, 65), 0));
    REQUIRE(refused(dim3(1), dim3(32), 49153));
    REQUIRE(cudaGetLastError() == cudaSuccess);
    REQUIRE(cudaFuncSetAttribute(reinterpret_cast<const void*>(add),
                                 cudaFuncAttributeMaxDynamicSharedMemorySize, 100000) == cudaSuccess);
    REQUIRE_FALSE(refused(dim3(1), dim3(32), 100000));
    REQUIRE(refused(dim3(1), dim3(32), 100001));
    REQUIRE(cudaFuncSetAttribute(reinterpret_cast<const void*>(add),
                                 cudaFuncAttributeMaxDynamicSharedMemorySize,
                                 228 * 1024) == cudaErrorInvalidValue);
    cudaLaunchAttribute cluster{};
    cluster.id = cudaLaunchAttributeClusterDimension;
    cudaLaunchConfig_t config{};
    config.gridDim = dim3(1);
    config.blockDim = dim3(32);
    config.attrs = &cluster;
    config.numAttrs = 1;
    config.stream = stream;
    REQUIRE(cudaLaunchKernelEx(&config, add, values.get(), 64, 1.0F) == cudaErrorInvalidConfiguration);
    REQUIRE_THAT(last_report(), Contains("which is not emulated"));
}

TEST_CASE("cuda_on_cpu: memory starts unwritten, is not given out twice, and has an end", "[unit]") {
    const Machine machine;
    void* first = nullptr;
    REQUIRE(cudaMalloc(&first, 1000) == cudaSuccess);
    std::vector<float> values(250);
    REQUIRE(cudaMemcpy(values.data(), first, 1000, cudaMemcpyDeviceToHost) == cudaSuccess);
    for (const float value : values) REQUIRE(value != value);
    REQUIRE(cudaFree(first) == cudaSuccess);
    void* second = nullptr;
    REQUIRE(cudaMalloc(&second, 1000) == cudaSuccess);
    REQUIRE(second != first);
    REQUIRE(cudaFree(second) == cudaSuccess);
    REQUIRE(cudaFree(second) == cudaErrorInvalidValue);
    options().memory_bytes = 4096;
    void* large = nullptr;
    REQUIRE(cudaMalloc(&large, 5000) == cudaErrorMemoryAllocation);
    std::size_t free_bytes = 0;
    std::size_t total_bytes = 0;
    REQUIRE(cudaMemGetInfo(&free_bytes, &total_bytes) == cudaSuccess);
    REQUIRE(total_bytes == 4096);
}

TEST_CASE("cuda_on_cpu: machines without a driver or a device answer as they do", "[unit]") {
    const Machine machine;
    int count = 7;
    options().has_driver = false;
    REQUIRE(cudaGetDeviceCount(&count) == cudaErrorInsufficientDriver);
    REQUIRE(count == 7);
    options().has_driver = true;
    options().num_devices = 0;
    REQUIRE(cudaGetDeviceCount(&count) == cudaErrorNoDevice);
    options().num_devices = 3;
    REQUIRE(cudaGetDeviceCount(&count) == cudaSuccess);
    REQUIRE(count == 3);
    REQUIRE(cudaSetDevice(2) == cudaSuccess);
    REQUIRE(cudaSetDevice(3) == cudaErrorInvalidDevice);
    REQUIRE(cudaSetDevice(0) == cudaSuccess);
    break_device(cudaErrorECCUncorrectable);
    REQUIRE(cudaDeviceSynchronize() == cudaErrorECCUncorrectable);
}

TEST_CASE("cuda_on_cpu: work that never ends is given up after a deadline", "[unit]") {
    const Machine machine;
    options().deadline_s = 0;
    const Stream stream;
    REQUIRE(enqueue(stream, "never", [] { return false; }) == cudaSuccess);
    REQUIRE(cudaStreamSynchronize(stream) == cudaErrorLaunchTimeout);
    REQUIRE_THAT(last_report(), Contains("SY_EMULATION_DEADLINE_S"));
}
