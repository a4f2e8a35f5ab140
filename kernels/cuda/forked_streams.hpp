#pragma once

#include <array>
#include <memory>
#include <string>

#include "kernels/cuda/stream.hpp"

namespace sy::cuda {

/// Streams beside those of a device, for work whose parts do not depend on each other. None is made before the first use.
class ForkedStreams {
  public:
    static constexpr std::size_t kCount = 4;

    /// @param name  of the device, for messages
    explicit ForkedStreams(std::string name) : name_(std::move(name)) {}

    /// What is queued on them from now on begins after all that `main` has queued. Returns at once.
    void fork(CudaStream& main) {
        const Event begin = main.record();
        for (std::size_t part = 0; part < kCount; ++part) {
            if (streams_[part] == nullptr)
                streams_[part] = std::make_unique<CudaStream>(concat(name_, "/part", part));
            streams_[part]->wait(begin);
        }
    }
    /// What is queued on `main` from now on begins after all that they have queued. Returns at once.
    void join(CudaStream& main) {
        for (const std::unique_ptr<CudaStream>& stream : streams_) main.wait(stream->record());
    }
    /// @pre fork was called
    CudaStream& operator[](std::size_t part) { return *streams_[part]; }

    index_t num_launches() const {
        index_t sum = 0;
        for (const std::unique_ptr<CudaStream>& stream : streams_)
            sum += stream == nullptr ? 0 : stream->num_launches();
        return sum;
    }

  private:
    std::string name_;
    std::array<std::unique_ptr<CudaStream>, kCount> streams_;
};

}  // namespace sy::cuda
