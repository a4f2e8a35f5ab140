// Capture of streams, and the graphs that come of it.
#include <thread>

#include "tests/cuda_on_cpu/suites/support.hpp"

using namespace sy::emulation;
using Catch::Matchers::Contains;

namespace {

constexpr int kSize = 64;
constexpr std::size_t kBytes = kSize * sizeof(float);

void add(float* values, float value) {
    values[threadIdx.x] += value;
}

void add_to(const float* from, const float* addends, float* to) {
    to[threadIdx.x] = from[threadIdx.x] + addends[threadIdx.x];
}

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

class Pinned {
  public:
    Pinned() {
        void* raw = nullptr;
        REQUIRE(cudaMallocHost(&raw, kBytes) == cudaSuccess);
        first_ = static_cast<float*>(raw);
    }
    Pinned(const Pinned&) = delete;
    Pinned& operator=(const Pinned&) = delete;
    ~Pinned() { cudaFreeHost(first_); }
    float* get() const { return first_; }

  private:
    float* first_ = nullptr;
};

void begin(cudaStream_t stream, cudaStreamCaptureMode mode = cudaStreamCaptureModeThreadLocal) {
    REQUIRE(cudaStreamBeginCapture(stream, mode) == cudaSuccess);
}

/// What a captured stream has become. @param expected_nodes  0: any number
class Exec {
  public:
    explicit Exec(cudaStream_t stream, std::size_t expected_nodes = 0) {
        cudaGraph_t graph = nullptr;
        REQUIRE(cudaStreamEndCapture(stream, &graph) == cudaSuccess);
        std::size_t count = 0;
        REQUIRE(cudaGraphGetNodes(graph, nullptr, &count) == cudaSuccess);
        CHECK((expected_nodes == 0 || count == expected_nodes));
        REQUIRE(cudaGraphInstantiate(&exec_, graph, 0) == cudaSuccess);
        REQUIRE(cudaGraphDestroy(graph) == cudaSuccess);
    }
    Exec(const Exec&) = delete;
    Exec& operator=(const Exec&) = delete;
    ~Exec() { cudaGraphExecDestroy(exec_); }
    operator cudaGraphExec_t() const { return exec_; }

  private:
    cudaGraphExec_t exec_ = nullptr;
};

cudaError_t end(cudaStream_t stream) {
    cudaGraph_t graph = nullptr;
    const cudaError_t error = cudaStreamEndCapture(stream, &graph);
    CHECK((graph == nullptr) == (error != cudaSuccess));
    if (graph != nullptr) cudaGraphDestroy(graph);
    return error;
}

std::vector<float> all(float value) {
    return std::vector<float>(kSize, value);
}

/// The stream's capture is invalid, and another one may begin after it.
void check_invalidated(cudaStream_t stream) {
    cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
    CHECK(cudaStreamIsCapturing(stream, &status) == cudaSuccess);
    CHECK(status == cudaStreamCaptureStatusInvalidated);
    CHECK(end(stream) == cudaErrorStreamCaptureInvalidated);
    CHECK(cudaStreamIsCapturing(stream, &status) == cudaSuccess);
    CHECK(status == cudaStreamCaptureStatusNone);
    begin(stream);
    CHECK(end(stream) == cudaSuccess);
}

}  // namespace

TEST_CASE(
    "graphs: nothing of a captured stream runs before a launch, and each launch finds the memory as it is",
    "[unit]") {
    const Machine machine;
    const Stream stream;
    const DeviceArray<float> values(all(1.0F)), addends(all(2.0F)), sums(all(0.0F));
    counters() = {};
    begin(stream);
    REQUIRE(queue(stream, dim3(1), dim3(kSize), add, values.get(), 1.0F) == cudaSuccess);
    REQUIRE(queue(stream, dim3(1), dim3(kSize), add_to, static_cast<const float*>(values.get()),
                  static_cast<const float*>(addends.get()), sums.get()) == cudaSuccess);
    const Exec exec(stream, 2);
    CHECK(counters().num_launches == 0);
    CHECK(values.to_host() == all(1.0F));
    for (int launch = 1; launch <= 3; ++launch) {
        REQUIRE(cudaGraphLaunch(exec, stream) == cudaSuccess);
        CHECK(cudaStreamQuery(stream) != cudaErrorInvalidValue);
    }
    REQUIRE(cudaStreamSynchronize(stream) == cudaSuccess);
    CHECK(values.to_host() == all(4.0F));
    CHECK(sums.to_host() == all(6.0F));
    CHECK(counters().num_launches == 0);
    CHECK(counters().num_graph_launches == 3);
    REQUIRE(cudaMemcpy(addends.get(), all(10.0F).data(), kBytes, cudaMemcpyHostToDevice) == cudaSuccess);
    REQUIRE(cudaGraphLaunch(exec, stream) == cudaSuccess);
    REQUIRE(cudaStreamSynchronize(stream) == cudaSuccess);
    CHECK(sums.to_host() == all(15.0F));
}

TEST_CASE("graphs: streams that are forked by events take part, and run in any order that the events allow",
          "[unit]") {
    const Machine machine;
    options().order = GENERATE(Order::fifo, Order::reverse, Order::random);
    const Stream stream, other;
    const Event fork, join;
    const DeviceArray<float> left(all(0.0F)), right(all(0.0F)), sums(all(0.0F));
    begin(stream);
    REQUIRE(queue(stream, dim3(1), dim3(kSize), add, left.get(), 1.0F) == cudaSuccess);
    REQUIRE(cudaEventRecord(fork, stream) == cudaSuccess);
    REQUIRE(cudaStreamWaitEvent(other, fork, 0) == cudaSuccess);
    REQUIRE(queue(other, dim3(1), dim3(kSize), add_to, static_cast<const float*>(left.get()),
                  static_cast<const float*>(left.get()), right.get()) == cudaSuccess);
    REQUIRE(queue(stream, dim3(1), dim3(kSize), add, sums.get(), 1.0F) == cudaSuccess);
    REQUIRE(cudaEventRecord(join, other) == cudaSuccess);
    REQUIRE(cudaStreamWaitEvent(stream, join, 0) == cudaSuccess);
    REQUIRE(queue(stream, dim3(1), dim3(kSize), add_to, static_cast<const float*>(left.get()),
                  static_cast<const float*>(right.get()), sums.get()) == cudaSuccess);
    const Exec exec(stream, 4);
    for (int launch = 1; launch <= 2; ++launch) REQUIRE(cudaGraphLaunch(exec, stream) == cudaSuccess);
    REQUIRE(cudaStreamSynchronize(stream) == cudaSuccess);
    CHECK(sums.to_host() == all(6.0F));
    // The other stream is free again.
    REQUIRE(queue(other, dim3(1), dim3(kSize), add, right.get(), 1.0F) == cudaSuccess);
    REQUIRE(cudaStreamSynchronize(other) == cudaSuccess);
    CHECK(right.to_host() == all(5.0F));
}

TEST_CASE("graphs: what waits for work, may wait, or needs memory of its own ends a capture", "[unit]") {
    const Machine machine;
    const Stream stream, other;
    const Event earlier, captured;
    const DeviceArray<float> values(all(1.0F));
    const Pinned pinned;
    std::vector<float> pageable(kSize);
    void* memory = nullptr;
    REQUIRE(cudaEventRecord(earlier, other) == cudaSuccess);
    REQUIRE(cudaStreamSynchronize(other) == cudaSuccess);
    struct Call {
        const char* name;
        cudaError_t expected;
        std::function<cudaError_t()> call;
    };
    const cudaError_t unsupported = cudaErrorStreamCaptureUnsupported;
    const std::vector<Call> calls{
        {"cudaStreamSynchronize", unsupported, [&] { return cudaStreamSynchronize(stream); }},
        {"cudaStreamQuery", unsupported, [&] { return cudaStreamQuery(stream); }},
        {"cudaDeviceSynchronize", unsupported, [&] { return cudaDeviceSynchronize(); }},
        {"cudaEventQuery, of an earlier record", unsupported, [&] { return cudaEventQuery(earlier); }},
        {"cudaEventQuery, of a captured record", cudaErrorCapturedEvent,
         [&] { return cudaEventQuery(captured); }},
        {"cudaEventSynchronize", cudaErrorCapturedEvent, [&] { return cudaEventSynchronize(captured); }},
        {"cudaMalloc", unsupported, [&] { return cudaMalloc(&memory, kBytes); }},
        {"cudaMallocHost", unsupported, [&] { return cudaMallocHost(&memory, kBytes); }},
        {"cudaFree", unsupported, [&] { return cudaFree(values.get()); }},
        {"cudaFreeAsync", unsupported, [&] { return cudaFreeAsync(values.get(), stream); }},
        {"cudaMemcpy", unsupported,
         [&] { return cudaMemcpy(values.get(), pinned.get(), kBytes, cudaMemcpyHostToDevice); }},
        {"a copy to pageable memory", unsupported,
         [&] {
             return cudaMemcpyAsync(pageable.data(), values.get(), kBytes, cudaMemcpyDeviceToHost, stream);
         }},
        {"a wait for an earlier record", cudaErrorStreamCaptureIsolation,
         [&] { return cudaStreamWaitEvent(stream, earlier, 0); }},
    };
    for (const Call& each : calls) {
        INFO(each.name);
        begin(stream);
        REQUIRE(queue(stream, dim3(1), dim3(kSize), add, values.get(), 1.0F) == cudaSuccess);
        REQUIRE(cudaEventRecord(captured, stream) == cudaSuccess);
        CHECK(each.call() == each.expected);
        CHECK(queue(stream, dim3(1), dim3(kSize), add, values.get(), 1.0F) ==
              cudaErrorStreamCaptureInvalidated);
        check_invalidated(stream);
    }
    // Copies of pinned memory are nodes, and nothing was done.
    begin(stream);
    REQUIRE(cudaMemcpyAsync(pinned.get(), values.get(), kBytes, cudaMemcpyDeviceToHost, stream) ==
            cudaSuccess);
    const Exec exec(stream, 1);
    REQUIRE(cudaGraphLaunch(exec, stream) == cudaSuccess);
    REQUIRE(cudaStreamSynchronize(stream) == cudaSuccess);
    CHECK(std::vector(pinned.get(), pinned.get() + kSize) == all(1.0F));
    CHECK(cudaEventQuery(captured) == cudaErrorCapturedEvent);
}

TEST_CASE("graphs: the mode says which threads a capture forbids what may be unsafe", "[unit]") {
    const Machine machine;
    const Stream stream;
    void* memory = nullptr;
    const auto allocate_elsewhere = [&] {
        cudaError_t error = cudaErrorUnknown;
        std::thread([&] { error = cudaMalloc(&memory, 64); }).join();
        return error;
    };
    begin(stream, cudaStreamCaptureModeThreadLocal);
    CHECK(allocate_elsewhere() == cudaSuccess);
    CHECK(end(stream) == cudaSuccess);
    begin(stream, cudaStreamCaptureModeGlobal);
    CHECK(allocate_elsewhere() == cudaErrorStreamCaptureUnsupported);
    check_invalidated(stream);
    begin(stream, cudaStreamCaptureModeRelaxed);
    CHECK(cudaMalloc(&memory, 64) == cudaSuccess);
    CHECK(end(stream) == cudaSuccess);
    begin(stream, cudaStreamCaptureModeThreadLocal);
    cudaError_t error = cudaSuccess;
    std::thread([&] { error = end(stream); }).join();
    CHECK(error == cudaErrorStreamCaptureWrongThread);
    check_invalidated(stream);
}

TEST_CASE("graphs: captures begin and end on a stream of their own, with all that they forked", "[unit]") {
    const Machine machine;
    const Stream stream, other;
    const Event fork;
    const DeviceArray<float> values(all(1.0F));
    CHECK(cudaStreamBeginCapture(nullptr, cudaStreamCaptureModeRelaxed) == cudaErrorStreamCaptureUnsupported);
    CHECK(end(stream) == cudaErrorIllegalState);
    begin(stream);
    CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeRelaxed) == cudaErrorIllegalState);
    REQUIRE(cudaEventRecord(fork, stream) == cudaSuccess);
    REQUIRE(cudaStreamWaitEvent(other, fork, 0) == cudaSuccess);
    REQUIRE(queue(other, dim3(1), dim3(kSize), add, values.get(), 1.0F) == cudaSuccess);
    SECTION("a fork that is not joined") {
        CHECK(end(stream) == cudaErrorStreamCaptureUnjoined);
    }
    SECTION("the end on a forked stream") {
        CHECK(end(other) == cudaErrorStreamCaptureUnmatched);
        check_invalidated(stream);
    }
    SECTION("a wait for another capture") {
        const Stream third;
        const Event event;
        begin(third);
        REQUIRE(cudaEventRecord(event, third) == cudaSuccess);
        CHECK(cudaStreamWaitEvent(stream, event, 0) == cudaErrorStreamCaptureMerge);
        check_invalidated(third);
        check_invalidated(stream);
    }
    SECTION("a wait after the end") {
        CHECK(end(stream) == cudaErrorStreamCaptureUnjoined);
        CHECK(cudaStreamWaitEvent(other, fork, 0) == cudaErrorCapturedEvent);
    }
    SECTION("a launch of a graph") {
        check_invalidated((static_cast<void>(cudaDeviceSynchronize()), stream));
        begin(other);
        const Exec exec(other);
        begin(stream);
        CHECK(cudaGraphLaunch(exec, stream) == cudaErrorStreamCaptureUnsupported);
        check_invalidated(stream);
    }
    CHECK(values.to_host() == all(1.0F));
}

TEST_CASE("graphs: the default stream may not wait for a captured one", "[unit]") {
    const Machine machine;
    const DeviceArray<float> values(all(1.0F));
    cudaStream_t blocking = nullptr;
    REQUIRE(cudaStreamCreate(&blocking) == cudaSuccess);
    begin(blocking, cudaStreamCaptureModeRelaxed);
    CHECK(cudaMemsetAsync(values.get(), 0, kBytes, nullptr) == cudaErrorStreamCaptureImplicit);
    check_invalidated(blocking);
    REQUIRE(cudaStreamDestroy(blocking) == cudaSuccess);
    const Stream stream;
    begin(stream, cudaStreamCaptureModeRelaxed);
    CHECK(cudaMemsetAsync(values.get(), 0, kBytes, nullptr) == cudaSuccess);
    CHECK(end(stream) == cudaSuccess);
}

TEST_CASE("graphs: a launch finds memory that was freed since, and destroyed graphs finish what was launched",
          "[unit]") {
    const Machine machine;
    const Stream stream;
    auto values = std::make_unique<DeviceArray<float>>(all(1.0F));
    const DeviceArray<float> copy(all(0.0F));
    begin(stream);
    REQUIRE(queue(stream, dim3(1), dim3(kSize), add, values->get(), 1.0F) == cudaSuccess);
    SECTION("of a kernel") {}
    SECTION("of a copy") {
        REQUIRE(cudaMemcpyAsync(copy.get(), values->get(), kBytes, cudaMemcpyDeviceToDevice, stream) ==
                cudaSuccess);
    }
    auto exec = std::make_unique<Exec>(stream);
    REQUIRE(cudaGraphLaunch(*exec, stream) == cudaSuccess);
    SECTION("destroyed") {
        exec.reset();
        REQUIRE(cudaStreamSynchronize(stream) == cudaSuccess);
        CHECK(values->to_host() == all(2.0F));
        return;
    }
    values.reset();
    CHECK(cudaGraphLaunch(*exec, stream) == cudaErrorIllegalAddress);
    CHECK_THAT(last_report(), Contains("a graph is launched whose"));
}
