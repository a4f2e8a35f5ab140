#pragma once

#include <cuda_runtime.h>

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "kernels/core/arena.hpp"
#include "kernels/core/device.hpp"
#include "kernels/cuda/forked_streams.hpp"
#include "kernels/cuda/gpus.hpp"
#include "kernels/cuda/graphs.hpp"
#include "kernels/cuda/group_methods.hpp"
#include "kernels/cuda/product_library.hpp"
#include "kernels/cuda/stream.hpp"

namespace sy {

/// Memory taken from the CUDA runtime, returned when this dies.
class CudaSlabs {
  public:
    explicit CudaSlabs(Memory kind) : kind_(kind) {}
    CudaSlabs(const CudaSlabs&) = delete;
    CudaSlabs& operator=(const CudaSlabs&) = delete;
    ~CudaSlabs();

    /// For Arena's constructor. @throws CudaError saying what was asked for, what is in use, and what would fit
    std::byte* map(index_t bytes);
    index_t bytes() const { return bytes_; }

  private:
    Memory kind_;
    std::vector<void*> slabs_;
    index_t bytes_ = 0;
};

struct CudaDeviceOptions {
    int index = 0;  ///< among the visible GPUs
    /// Least amount of device memory that is taken at a time; a sixty-fourth of all that a small GPU has.
    index_t slab_bytes = index_t{256} << 20;
    index_t staging_slab_bytes = index_t{16} << 20;
    /// Uploads that are on their way may hold so much staging memory; more of them wait.
    index_t upload_bytes = index_t{64} << 20;
    /// Who looks for a library of products; null: bodies use their own kernels.
    cuda::FindProductLibrary* find_product_library = nullptr;
    /// How groups of products are computed; null: the fastest way is measured.
    std::optional<cuda::GroupMethod> group_method = {};
};

/// What a CudaDevice is made of besides a Device, and has to have before that: the GPU is chosen first, and its memory
/// outlives the streams.
struct CudaParts {
    explicit CudaParts(const CudaDeviceOptions& options);

    cuda::GpuProperties properties;
    CudaSlabs device_slabs{Memory::device};
    CudaSlabs staging_slabs{Memory::staging};
    Arena device_arena;
    Arena staging_arena;
};

/// A GPU. Memory is given out by arenas that keep what is given back, so that nothing is allocated from the second step on;
/// a piece is safe to use again because what is queued later on the same stream begins later. Operations are queued by the
/// thread that has made it; memory, copies and uploads another one may ask for too, while that one does not.
class CudaDevice : private CudaParts, public Gpu, public GraphDevice {
  public:
    /// @throws CudaError when there is no such GPU, or its driver is too old
    CudaDevice(const CudaDeviceOptions& options, const ops::Bodies& bodies);
    ~CudaDevice() override;

    int num_threads() const override { return 1; }
    Buffer allocate(index_t bytes, Memory memory = Memory::device) override;
    bool is_host_memory() const override { return false; }
    index_t peak_bytes() const override { return device_arena.peak_bytes(); }
    void set_poll(std::function<void()> poll) override { poll_ = std::move(poll); }
    CudaStream& compute() override { return compute_; }
    CudaStream& transfer() override { return transfer_; }
    void copy(ConstTensorRef from, TensorRef to, Stream& stream) override;
    void upload(const HostRef& made, TensorRef to, Stream& stream) override;

    std::unique_ptr<Graphs> make_graphs(Stream& stream) override;
    index_t num_launches() const override;
    /// Whom a step that is captured asks for memory; null: nothing is being captured.
    void set_graphs(CudaGraphs* graphs) { graphs_ = graphs; }

    /// Null: there is none.
    cuda::ProductLibrary* product_library() { return products_.library.get(); }
    cuda::GroupMethods& group_methods() { return group_methods_; }
    cuda::ForkedStreams& forked() { return forked_; }
    std::string products_note() const override;

  private:
    /// Staging memory that a copy reads until `done`.
    struct Upload {
        Buffer memory;
        Event done;
    };

    void retire_uploads(index_t bytes_needed);

    int index_;
    index_t upload_bytes_;
    index_t graph_slab_bytes_;
    index_t pending_bytes_ = 0;
    std::function<void()> poll_;  ///< called in waits of the streams
    CudaStream compute_;
    CudaStream transfer_;
    std::deque<Upload> uploads_;
    cuda::ForkedStreams forked_;
    cuda::GroupMethods group_methods_;
    cuda::FoundProductLibrary products_;
    CudaGraphs* graphs_ = nullptr;
};

}  // namespace sy
