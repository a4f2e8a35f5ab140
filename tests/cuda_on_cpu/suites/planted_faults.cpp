// planted_faults NAME right|faulty: commits one fault, or does the same without it. Says "right" or "wrong values" of what
// it computed; what the emulation and the sanitizers say goes to stderr. tests/cuda_on_cpu/suites/faults holds them to it.
#include "tests/cuda_on_cpu/suites/planted_faults.hpp"

#include <cuda_runtime_api.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <vector>

namespace {

constexpr int kSize = 512;
constexpr std::size_t kBytes = kSize * sizeof(float);

void check(cudaError_t error, const char* what) {
    if (error == cudaSuccess) return;
    std::printf("%s: %s\n", what, cudaGetErrorName(error));
    std::exit(1);
}
#define CHECK(call) check(call, #call)

cudaStream_t new_stream() {
    cudaStream_t stream = nullptr;
    CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    return stream;
}

float* new_array() {
    void* first = nullptr;
    CHECK(cudaMalloc(&first, kBytes));
    return static_cast<float*>(first);
}

float* new_pinned() {
    void* first = nullptr;
    CHECK(cudaMallocHost(&first, kBytes));
    return static_cast<float*>(first);
}

cudaEvent_t new_event() {
    cudaEvent_t event = nullptr;
    CHECK(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
    return event;
}

std::vector<float> read(const float* first, cudaStream_t stream) {
    std::vector<float> values(kSize);
    CHECK(cudaMemcpyAsync(values.data(), first, kBytes, cudaMemcpyDeviceToHost, stream));
    CHECK(cudaStreamSynchronize(stream));
    return values;
}

bool all_are(const std::vector<float>& values, float expected) {
    for (const float value : values) {
        if (value != expected) return false;  // NaN too
    }
    return true;
}

/// A kernel with a fault of its own.
bool run_kernel(const std::string& name, int faulty) {
    const std::map<std::string, Shape> shapes{
        {"missing_barrier", {2}},         {"divergent_barrier", {1}}, {"wrong_mask", {1}},
        {"global_overrun", {1, 544}},     {"shared_overrun", {1}},    {"misaligned_access", {1}},
        {"race_between_blocks", {8, 32}}, {"unwritten_shared", {1}}};
    const cudaStream_t stream = new_stream();
    float* out = new_array();
    CHECK(launch_fill({2}, stream, out, kSize, 0.0F));
    CHECK(launch_faulty(name, shapes.at(name), stream, out, kSize, faulty));
    const std::vector<float> values = read(out, stream);
    CHECK(cudaFree(out));
    if (name == "missing_barrier") {
        for (int i = 0; i < kSize; ++i) {
            if (values[std::size_t(i)] != float(i / 256 * 256 + 255 - i % 256)) return false;
        }
    }
    if (name == "unwritten_shared") return all_are(std::vector(values.begin(), values.begin() + 256), 1.0F);
    return true;
}

bool stream_does_not_wait(int faulty) {
    const cudaStream_t first = new_stream();
    const cudaStream_t second = new_stream();
    float* between = new_array();
    float* out = new_array();
    const cudaEvent_t event = new_event();
    CHECK(launch_fill({2}, first, between, kSize, 1.0F));
    CHECK(cudaEventRecord(event, first));
    if (faulty == 0) CHECK(cudaStreamWaitEvent(second, event, 0));
    CHECK(launch_add_one({2}, second, between, out, kSize));
    return all_are(read(out, second), 2.0F);
}

bool event_recorded_too_early(int faulty) {
    const cudaStream_t first = new_stream();
    const cudaStream_t second = new_stream();
    float* between = new_array();
    float* out = new_array();
    const cudaEvent_t event = new_event();
    if (faulty == 1) CHECK(cudaEventRecord(event, first));
    CHECK(launch_fill({2}, first, between, kSize, 1.0F));
    if (faulty == 0) CHECK(cudaEventRecord(event, first));
    CHECK(cudaStreamWaitEvent(second, event, 0));
    CHECK(launch_add_one({2}, second, between, out, kSize));
    return all_are(read(out, second), 2.0F);
}

bool host_reads_too_early(int faulty) {
    const cudaStream_t stream = new_stream();
    float* out = new_array();
    float* staging = new_pinned();
    CHECK(launch_fill({2}, stream, out, kSize, 2.0F));
    CHECK(cudaMemcpyAsync(staging, out, kBytes, cudaMemcpyDeviceToHost, stream));
    if (faulty == 0) CHECK(cudaStreamSynchronize(stream));
    return all_are(std::vector(staging, staging + kSize), 2.0F);
}

bool staging_reused_too_early(int faulty) {
    const cudaStream_t stream = new_stream();
    float* out = new_array();
    float* staging = new_pinned();
    for (int i = 0; i < kSize; ++i) staging[i] = 2.0F;
    CHECK(cudaMemcpyAsync(out, staging, kBytes, cudaMemcpyHostToDevice, stream));
    if (faulty == 0) CHECK(cudaStreamSynchronize(stream));
    for (int i = 0; i < kSize; ++i) staging[i] = 3.0F;
    return all_are(read(out, stream), 2.0F);
}

bool host_reads_device_memory(int faulty) {
    const cudaStream_t stream = new_stream();
    float* out = new_array();
    CHECK(launch_fill({2}, stream, out, kSize, 2.0F));
    CHECK(cudaStreamSynchronize(stream));
    if (faulty == 1) return *static_cast<volatile float*>(out) == 2.0F;
    return all_are(read(out, stream), 2.0F);
}

bool pageable_argument(int faulty) {
    const cudaStream_t stream = new_stream();
    std::vector<float> pageable(kSize, 1.0F);
    float* in = faulty == 1 ? pageable.data() : new_array();
    float* out = new_array();
    if (faulty == 0) CHECK(launch_fill({2}, stream, in, kSize, 1.0F));
    CHECK(launch_add_one({2}, stream, in, out, kSize));
    return all_are(read(out, stream), 2.0F);
}

bool pageable_in_closure(int faulty) {
    const cudaStream_t stream = new_stream();
    std::vector<float> pageable(kSize, 1.0F);
    float* in = faulty == 1 ? pageable.data() : new_array();
    float* out = new_array();
    if (faulty == 0) CHECK(launch_fill({2}, stream, in, kSize, 1.0F));
    CHECK(launch_add_one_of_view({2}, stream, {in, kSize}, out));
    return all_are(read(out, stream), 2.0F);
}

bool freed_argument(int faulty) {
    const cudaStream_t stream = new_stream();
    float* in = new_array();
    float* out = new_array();
    CHECK(launch_fill({2}, stream, in, kSize, 1.0F));
    if (faulty == 1) CHECK(cudaFree(in));
    CHECK(launch_add_one({2}, stream, in, out, kSize));
    return all_are(read(out, stream), 2.0F);
}

bool block_too_large(int faulty) {
    const cudaStream_t stream = new_stream();
    float* out = new_array();
    CHECK(launch_fill({1, faulty == 1 ? 1056U : 1024U}, stream, out, kSize, 2.0F));
    return all_are(read(out, stream), 2.0F);
}

bool shared_memory_not_allowed(int faulty) {
    const cudaStream_t stream = new_stream();
    float* out = new_array();
    CHECK(launch_fill({2, 256, faulty == 1 ? 50000U : 49000U}, stream, out, kSize, 2.0F));
    return all_are(read(out, stream), 2.0F);
}

bool warp_not_whole(int faulty) {
    const cudaStream_t stream = new_stream();
    float* out = new_array();
    CHECK(launch_faulty("wrong_mask", {1, faulty == 1 ? 48U : 64U}, stream, out, kSize, 0));
    CHECK(cudaStreamSynchronize(stream));
    return true;
}

bool stream_destroyed(int faulty) {
    const cudaStream_t stream = new_stream();
    const cudaStream_t other = new_stream();
    float* out = new_array();
    if (faulty == 1) CHECK(cudaStreamDestroy(other));
    CHECK(launch_fill({2}, other, out, kSize, 2.0F));
    CHECK(cudaStreamSynchronize(other));
    return all_are(read(out, stream), 2.0F);
}

bool copy_out_of_bounds(int faulty) {
    const cudaStream_t stream = new_stream();
    float* out = new_array();
    std::vector<float> values(kSize + 1, 2.0F);
    CHECK(
        cudaMemcpyAsync(out, values.data(), kBytes + (faulty == 1 ? 4 : 0), cudaMemcpyHostToDevice, stream));
    return all_are(read(out, stream), 2.0F);
}

/// A graph of one stream, which reads `in` and writes `out`.
class Captured {
  public:
    cudaStream_t stream() const { return stream_; }
    float* in() const { return in_; }
    float* out() const { return out_; }

    void fill_in(float value) { CHECK(launch_fill({2}, stream_, in_, kSize, value)); }
    void add_one_to_in() { CHECK(launch_add_one({2}, stream_, in_, out_, kSize)); }
    void begin(cudaStreamCaptureMode mode = cudaStreamCaptureModeThreadLocal) {
        CHECK(cudaStreamSynchronize(stream_));
        CHECK(cudaStreamBeginCapture(stream_, mode));
    }
    void end() {
        cudaGraph_t graph = nullptr;
        CHECK(cudaStreamEndCapture(stream_, &graph));
        CHECK(cudaGraphInstantiate(&exec_, graph, 0));
        CHECK(cudaGraphDestroy(graph));
    }
    /// Launches what was captured. @return whether all of `out` then is `expected`
    bool gives(float expected) {
        CHECK(cudaGraphLaunch(exec_, stream_));
        return all_are(read(out_, stream_), expected);
    }

  private:
    cudaStream_t stream_ = new_stream();
    float* in_ = new_array();
    float* out_ = new_array();
    cudaGraphExec_t exec_ = nullptr;
};

/// What differs from launch to launch is in memory, or, wrongly, an argument.
bool graph_keeps_argument(int faulty) {
    Captured graph;
    graph.fill_in(1.0F);
    graph.begin();
    if (faulty == 1) graph.fill_in(1.0F);
    graph.add_one_to_in();
    graph.end();
    graph.fill_in(2.0F);
    return graph.gives(3.0F);
}

/// A forked stream writes what the captured one reads, which waits for it before, or, wrongly, after it reads.
bool graph_joins_too_late(int faulty) {
    Captured graph;
    const cudaStream_t other = new_stream();
    const cudaEvent_t fork = new_event();
    const cudaEvent_t join = new_event();
    graph.begin();
    CHECK(cudaEventRecord(fork, graph.stream()));
    CHECK(cudaStreamWaitEvent(other, fork, 0));
    if (faulty == 1) graph.add_one_to_in();
    CHECK(launch_fill({2}, other, graph.in(), kSize, 1.0F));
    CHECK(cudaEventRecord(join, other));
    CHECK(cudaStreamWaitEvent(graph.stream(), join, 0));
    if (faulty == 0) graph.add_one_to_in();
    graph.end();
    return graph.gives(2.0F);
}

bool graph_outlives_memory(int faulty) {
    Captured graph;
    graph.fill_in(1.0F);
    graph.begin();
    graph.add_one_to_in();
    graph.end();
    if (faulty == 1) CHECK(cudaFree(graph.in()));
    return graph.gives(2.0F);
}

bool capture_allocates(int faulty) {
    Captured graph;
    float* more = faulty == 1 ? nullptr : new_array();
    graph.begin(cudaStreamCaptureModeGlobal);
    if (faulty == 1) more = new_array();
    CHECK(launch_fill({2}, graph.stream(), more, kSize, 1.0F));
    CHECK(launch_add_one({2}, graph.stream(), more, graph.out(), kSize));
    graph.end();
    return graph.gives(2.0F);
}

bool capture_reads(int faulty) {
    Captured graph;
    graph.begin();
    CHECK(launch_fill({2}, graph.stream(), graph.out(), kSize, 2.0F));
    if (faulty == 1) return all_are(read(graph.out(), graph.stream()), 2.0F);
    graph.end();
    return graph.gives(2.0F);
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 3 || (std::strcmp(argv[2], "right") != 0 && std::strcmp(argv[2], "faulty") != 0)) {
        std::fprintf(stderr, "planted_faults NAME right|faulty\n");
        return 2;
    }
    const std::map<std::string, std::function<bool(int)>> others{
        {"stream_does_not_wait", stream_does_not_wait},
        {"event_recorded_too_early", event_recorded_too_early},
        {"host_reads_too_early", host_reads_too_early},
        {"staging_reused_too_early", staging_reused_too_early},
        {"host_reads_device_memory", host_reads_device_memory},
        {"pageable_argument", pageable_argument},
        {"pageable_in_closure", pageable_in_closure},
        {"freed_argument", freed_argument},
        {"block_too_large", block_too_large},
        {"shared_memory_not_allowed", shared_memory_not_allowed},
        {"warp_not_whole", warp_not_whole},
        {"stream_destroyed", stream_destroyed},
        {"copy_out_of_bounds", copy_out_of_bounds},
        {"graph_keeps_argument", graph_keeps_argument},
        {"graph_joins_too_late", graph_joins_too_late},
        {"graph_outlives_memory", graph_outlives_memory},
        {"capture_allocates", capture_allocates},
        {"capture_reads", capture_reads}};
    const std::string name = argv[1];
    const int faulty = std::strcmp(argv[2], "faulty") == 0 ? 1 : 0;
    const auto found = others.find(name);
    const bool is_right = found != others.end() ? found->second(faulty) : run_kernel(name, faulty);
    std::puts(is_right ? "right" : "wrong values");
    return is_right ? 0 : 1;
}
