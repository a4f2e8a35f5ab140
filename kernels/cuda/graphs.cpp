#include "kernels/cuda/graphs.hpp"

#include <algorithm>
#include <utility>

#include "kernels/cuda/cuda_device.hpp"
#include "kernels/cuda/error.hpp"

namespace sy {
namespace {

/// A capture of a stream, which ends with it, whatever comes between.
class Capture {
  public:
    explicit Capture(cudaStream_t stream) : stream_(stream) {
        SY_CUDA(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal));
    }
    Capture(const Capture&) = delete;
    Capture& operator=(const Capture&) = delete;
    ~Capture() {
        // Whoever threw has said why; the stream may be used again.
        cudaGraph_t unfinished = nullptr;
        if (stream_ == nullptr) return;
        static_cast<void>(cudaStreamEndCapture(stream_, &unfinished));
        static_cast<void>(cudaGetLastError());
        if (unfinished != nullptr) static_cast<void>(cudaGraphDestroy(unfinished));
    }
    /// What can be launched of all that was queued.
    cudaGraphExec_t finish() {
        cudaGraph_t graph = nullptr;
        SY_CUDA(cudaStreamEndCapture(std::exchange(stream_, nullptr), &graph));
        cudaGraphExec_t exec = nullptr;
        const cudaError_t status = cudaGraphInstantiate(&exec, graph, 0);
        static_cast<void>(cudaGraphDestroy(graph));
        cuda::check(status, "cudaGraphInstantiate");
        return exec;
    }

  private:
    cudaStream_t stream_;
};

}  // namespace

/// A call of what queues a step: the device asks these graphs for memory meanwhile.
class CudaGraphs::Use {
  public:
    Use(CudaGraphs& graphs, Step& step) : graphs_(graphs) {
        graphs_.current_ = &step;
        graphs_.num_uploads_ = 0;
        graphs_.device_.set_graphs(&graphs_);
    }
    Use(const Use&) = delete;
    Use& operator=(const Use&) = delete;
    ~Use() {
        graphs_.device_.set_graphs(nullptr);
        graphs_.is_capturing_ = false;
        graphs_.current_ = nullptr;
    }

  private:
    CudaGraphs& graphs_;
};

CudaGraphs::CudaGraphs(CudaDevice& device, CudaStream& stream, index_t slab_bytes)
    : device_(device),
      stream_(stream),
      slabs_(std::make_unique<CudaSlabs>(Memory::device)),
      arena_(slab_bytes, [this](index_t bytes) { return slabs_->map(bytes); }) {}

CudaGraphs::~CudaGraphs() {
    // What is queued may use memory that is about to be freed.
    try {
        stream_.synchronise(std::chrono::minutes(1));
    } catch (const Error&) {
        // Whoever waits for that work next has the message.
    }
    for (const auto& [key, step] : steps_) {
        if (step.exec != nullptr) static_cast<void>(cudaGraphExecDestroy(step.exec));
    }
}

void CudaGraphs::run(index_t key, const std::function<void()>& queue) {
    Step& step = steps_[key];
    if (step.exec == nullptr && !step.has_run) {
        const Use use(*this, step);
        step.uploads.clear();
        queue();
        step.has_run = true;
        return;
    }
    if (step.exec == nullptr) {
        capture(step, queue);
    } else {
        ++num_replays_;
    }
    SY_CUDA(cudaGraphLaunch(step.exec, stream_.get()));
    stream_.count_launch();
}

void CudaGraphs::capture(Step& step, const std::function<void()>& queue) {
    const Use use(*this, step);
    const index_t reserved = arena_.reserved_bytes();
    step.staging.clear();
    for (const std::vector<std::byte>& upload : step.uploads) {
        step.staging.push_back(device_.allocate(std::ssize(upload), Memory::staging));
        std::ranges::copy(upload, step.staging.back().data());
    }
    Capture capture(stream_.get());
    is_capturing_ = true;
    queue();
    step.exec = capture.finish();
    SY_REQUIRE(arena_.reserved_bytes() == reserved, "cuda graphs: a step needs ", arena_.reserved_bytes(),
               " bytes at its second use, and ", reserved, " at its first");
    ++num_captured_;
    step.uploads.clear();
}

const std::byte* CudaGraphs::staged_upload(std::span<const std::byte> bytes) {
    const std::size_t number = num_uploads_++;
    const bool is_same =
        number < current_->uploads.size() && std::ranges::equal(current_->uploads[number], bytes);
    SY_REQUIRE(is_same, "cuda graphs: upload ", number + 1, " of a captured step, ", bytes.size(),
               " bytes, differs from that of the step before, and would stay as it is; what changes from "
               "step to step has to be in the device's memory before the step is queued");
    return current_->staging[number].data();
}

}  // namespace sy
