#pragma once

#include <cuda_runtime.h>

#include <deque>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "kernels/core/context.hpp"

namespace sy {

/// A stream of a GPU that does not wait for the default stream.
class CudaStream : public Stream {
  public:
    /// @param name  of the device and the stream, for messages
    /// @param poll  called, unless it is empty, while the thread that makes the stream waits; null: nothing is. Borrowed
    explicit CudaStream(std::string name, const std::function<void()>* poll = nullptr);
    ~CudaStream() override;

    Event record() override;
    void wait(const Event& event) override;
    void synchronise(std::chrono::milliseconds deadline) override;

    /// Whether the work up to an event of this stream is done. Returns at once.
    bool is_done(const Event& event);
    /// As synchronise, for the work up to an event of this stream.
    void synchronise(const Event& event, std::chrono::milliseconds deadline);
    cudaStream_t get() const { return stream_; }
    /// Something was started on it: a kernel, a library's call, a copy, a graph.
    void count_launch() { ++num_launches_; }
    index_t num_launches() const { return num_launches_; }

  private:
    struct Recorded {
        std::uint64_t position;
        cudaEvent_t event;
    };

    /// Asks until `status` is no longer cudaErrorNotReady. @return whether that was before the deadline
    template <class Status>
    bool poll_until_ready(const Status& status, const char* call, std::chrono::milliseconds deadline) const;
    void retire();
    cudaEvent_t event_at(std::uint64_t position) const;

    std::string name_;
    const std::function<void()>* poll_;
    std::thread::id owner_ = std::this_thread::get_id();
    cudaStream_t stream_ = nullptr;
    std::uint64_t position_ = 0;
    std::deque<Recorded> recorded_;  ///< those that may not be done yet, oldest first
    std::vector<cudaEvent_t> idle_;
    index_t num_launches_ = 0;
};

namespace cuda {

/// The stream of a body of CUDA.
inline cudaStream_t stream_of(const Context& context) {
    return static_cast<const CudaStream&>(context.stream).get();
}

}  // namespace cuda
}  // namespace sy
