#include "kernels/cuda/stream.hpp"

#include <utility>

#include "kernels/cuda/error.hpp"

namespace sy {

CudaStream::CudaStream(std::string name, const std::function<void()>* poll)
    : name_(std::move(name)), poll_(poll) {
    SY_CUDA(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking));
}

CudaStream::~CudaStream() {
    // A failure here was reported by the call that caused it, or the process ends anyway.
    for (const Recorded& recorded : recorded_) static_cast<void>(cudaEventDestroy(recorded.event));
    for (const cudaEvent_t event : idle_) static_cast<void>(cudaEventDestroy(event));
    static_cast<void>(cudaStreamDestroy(stream_));
}

Event CudaStream::record() {
    retire();
    cudaEvent_t event = nullptr;
    if (idle_.empty()) {
        SY_CUDA(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
    } else {
        event = idle_.back();
        idle_.pop_back();
    }
    recorded_.push_back({++position_, event});
    SY_CUDA(cudaEventRecord(event, stream_));
    return {this, position_};
}

void CudaStream::wait(const Event& event) {
    if (event.stream == nullptr || event.stream == this) return;
    auto& other = static_cast<CudaStream&>(*event.stream);
    const cudaEvent_t recorded = other.event_at(event.position);
    if (recorded != nullptr) SY_CUDA(cudaStreamWaitEvent(stream_, recorded, 0));
}

void CudaStream::synchronise(std::chrono::milliseconds deadline) {
    if (poll_until_ready([&] { return cudaStreamQuery(stream_); }, "cudaStreamQuery", deadline)) return;
    throw TimeoutError(concat("cuda: stream ", name_, " is not done after ", deadline.count(),
                              " ms; a kernel hangs, or a peer that it waits for is gone"));
}

bool CudaStream::is_done(const Event& event) {
    retire();
    return event_at(event.position) == nullptr;
}

void CudaStream::synchronise(const Event& event, std::chrono::milliseconds deadline) {
    const cudaEvent_t recorded = event_at(event.position);
    if (recorded == nullptr ||
        poll_until_ready([&] { return cudaEventQuery(recorded); }, "cudaEventQuery", deadline))
        return;
    throw TimeoutError(concat("cuda: what was queued on stream ", name_, " is not done after ",
                              deadline.count(), " ms; a kernel hangs, or a peer that it waits for is gone"));
}

template <class Status>
bool CudaStream::poll_until_ready(const Status& status, const char* call,
                                  std::chrono::milliseconds deadline) const {
    const auto end = std::chrono::steady_clock::now() + deadline;
    // Others may not send or receive.
    const bool polls_messages = poll_ != nullptr && *poll_ && std::this_thread::get_id() == owner_;
    // At first without a pause, for most waits of a step are short.
    constexpr int kBusyPolls = 2000;
    for (int polls = 0;; ++polls) {
        const cudaError_t now = status();
        if (now != cudaErrorNotReady) {
            cuda::check(now, call);
            return true;
        }
        if (std::chrono::steady_clock::now() > end) return false;
        if (polls_messages) (*poll_)();
        if (polls > kBusyPolls) std::this_thread::sleep_for(std::chrono::microseconds(20));
    }
}

void CudaStream::retire() {
    while (!recorded_.empty()) {
        const cudaError_t status = cudaEventQuery(recorded_.front().event);
        if (status == cudaErrorNotReady) return;
        cuda::check(status, "cudaEventQuery");
        idle_.push_back(recorded_.front().event);
        recorded_.pop_front();
    }
}

/// The first event at that position or after it; null when all that is known to be done.
cudaEvent_t CudaStream::event_at(std::uint64_t position) const {
    for (const Recorded& recorded : recorded_) {
        if (recorded.position >= position) return recorded.event;
    }
    return nullptr;
}

}  // namespace sy
