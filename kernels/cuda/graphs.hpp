#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <map>
#include <span>
#include <vector>

#include "kernels/core/arena.hpp"
#include "kernels/core/graphs.hpp"
#include "kernels/cuda/stream.hpp"

namespace sy {

class CudaDevice;
class CudaSlabs;

/// Steps of a GPU as CUDA graphs. What a step allocates comes from an arena of these graphs, in which the first use of a key
/// makes the room that capturing then finds, since nothing may be allocated while a stream is captured. What it uploads is
/// copied from staging memory that a graph keeps, and so has to be the same at each use: ids, positions and the like are in
/// memory of the device (kernels/core/list.hpp). Streams are captured in the mode of their thread, so that those of other
/// ranks of the process go on as they like.
class CudaGraphs : public Graphs {
  public:
    CudaGraphs(CudaDevice& device, CudaStream& stream, index_t slab_bytes);
    ~CudaGraphs() override;

    void run(index_t key, const std::function<void()>& queue) override;
    index_t num_captured() const override { return num_captured_; }
    index_t num_replays() const override { return num_replays_; }

    /// For the device, while `queue` is called.
    Buffer allocate(index_t bytes) { return arena_.allocate(bytes); }
    bool is_capturing() const { return is_capturing_; }
    /// Takes note of an upload of a first use.
    void note_upload(std::span<const std::byte> bytes) {
        current_->uploads.emplace_back(bytes.begin(), bytes.end());
    }
    /// The same in staging memory, for a captured copy. @throws LogicError where it differs from that of the first use
    const std::byte* staged_upload(std::span<const std::byte> bytes);

  private:
    struct Step {
        bool has_run = false;
        cudaGraphExec_t exec = nullptr;
        std::vector<std::vector<std::byte>> uploads;  ///< of the first use
        std::vector<Buffer> staging;                  ///< the same, which the graph's copies read
    };
    class Use;

    void capture(Step& step, const std::function<void()>& queue);

    CudaDevice& device_;
    CudaStream& stream_;
    std::unique_ptr<CudaSlabs> slabs_;
    Arena arena_;
    std::map<index_t, Step> steps_;
    Step* current_ = nullptr;
    std::size_t num_uploads_ = 0;  ///< of the current use
    bool is_capturing_ = false;
    index_t num_captured_ = 0;
    index_t num_replays_ = 0;
};

}  // namespace sy
