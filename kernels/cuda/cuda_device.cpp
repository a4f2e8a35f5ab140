#include "kernels/cuda/cuda_device.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "kernels/core/fits.hpp"
#include "kernels/core/host_view.hpp"
#include "kernels/cuda/error.hpp"
#include "kernels/cuda/view.hpp"

namespace sy {
namespace {

/// No upload takes longer, however much is queued before it.
constexpr std::chrono::minutes kUploadDeadline{5};

void check_copy(ConstTensorRef from, ConstTensorRef to) {
    SY_FITS(from.dtype() == to.dtype() && same_sides(from, to), "copy: [", from.rows(), ", ", from.cols(),
            "] ", dtype_name(from.dtype()), " into [", to.rows(), ", ", to.cols(), "] ",
            dtype_name(to.dtype()));
}

/// Rows of bytes, of either memory, in the order of the stream.
struct CopyRows {
    std::byte* to;
    index_t to_pitch;
    const std::byte* from;
    index_t from_pitch;
    index_t width;
    index_t rows;
};

void queue_copy(const CopyRows& rows, cudaStream_t stream) {
    if (rows.width == 0 || rows.rows == 0) return;
    const auto width = static_cast<std::size_t>(rows.width);
    if (rows.rows == 1 || (rows.to_pitch == rows.width && rows.from_pitch == rows.width)) {
        SY_CUDA(cudaMemcpyAsync(rows.to, rows.from, width * static_cast<std::size_t>(rows.rows),
                                cudaMemcpyDefault, stream));
        return;
    }
    SY_CUDA(cudaMemcpy2DAsync(rows.to, static_cast<std::size_t>(rows.to_pitch), rows.from,
                              static_cast<std::size_t>(rows.from_pitch), width,
                              static_cast<std::size_t>(rows.rows), cudaMemcpyDefault, stream));
}

/// Rows of the host one after another.
void pack_rows(ConstTensorRef values, std::byte* to) {
    const auto width = static_cast<std::size_t>(values.cols() * dtype_bytes(values.dtype()));
    for (index_t row = 0; row < values.rows(); ++row)
        std::memcpy(to + static_cast<std::size_t>(row) * width, HostAccess::row(values, row), width);
}

/// A GPU of little memory is not filled with what is taken ahead.
constexpr index_t kLeastSlabs = 64;
/// Steps of few tokens need less.
constexpr index_t kGraphSlabs = 8;

}  // namespace

CudaSlabs::~CudaSlabs() {
    // A failure here was reported by the call that caused it, or the process ends anyway.
    for (void* const slab : slabs_)
        static_cast<void>(kind_ == Memory::device ? cudaFree(slab) : cudaFreeHost(slab));
}

std::byte* CudaSlabs::map(index_t bytes) {
    slabs_.reserve(slabs_.size() + 1);
    void* slab = nullptr;
    const auto size = static_cast<std::size_t>(bytes);
    const bool on_device = kind_ == Memory::device;
    const cudaError_t status =
        on_device ? cudaMalloc(&slab, size) : cudaHostAlloc(&slab, size, cudaHostAllocDefault);
    if (status == cudaErrorMemoryAllocation && on_device) {
        static_cast<void>(cudaGetLastError());  // it is reported here, not by the next call
        std::size_t free = 0;
        std::size_t total = 0;
        SY_CUDA(cudaMemGetInfo(&free, &total));
        throw CudaError(concat("cuda: no ", bytes, " bytes of device memory: of the GPU's ", total,
                               " bytes this rank holds ", bytes_, ", and ", free, " are free; ",
                               cuda::advice_for(status)));
    }
    cuda::check(status, on_device ? "cudaMalloc" : "cudaHostAlloc");
    slabs_.push_back(slab);
    bytes_ += bytes;
    return static_cast<std::byte*>(slab);
}

CudaParts::CudaParts(const CudaDeviceOptions& options)
    : properties(cuda::select_gpu(options.index)),
      device_arena(std::min(options.slab_bytes, properties.memory_bytes / kLeastSlabs),
                   [this](index_t bytes) { return device_slabs.map(bytes); }),
      staging_arena(options.staging_slab_bytes, [this](index_t bytes) { return staging_slabs.map(bytes); }) {}

CudaDevice::CudaDevice(const CudaDeviceOptions& options, const ops::Bodies& bodies)
    : CudaParts(options),
      Gpu(concat("cuda:", options.index), properties.names, bodies),
      index_(options.index),
      upload_bytes_(options.upload_bytes),
      graph_slab_bytes_(std::min(options.slab_bytes / kGraphSlabs, properties.memory_bytes / kLeastSlabs)),
      compute_(concat("cuda:", options.index, "/compute"), &poll_),
      transfer_(concat("cuda:", options.index, "/transfer"), &poll_),
      forked_(concat("cuda:", options.index)),
      group_methods_(options.group_method) {
    if (options.find_product_library == nullptr)
        products_.note = "kernels of its own";
    else
        products_ = options.find_product_library(*this);
}

CudaDevice::~CudaDevice() {
    // What is queued may use memory that is about to be freed; a hanging kernel must not keep the process.
    poll_ = nullptr;  // whom it polls is gone
    try {
        compute_.synchronise(std::chrono::minutes(1));
        transfer_.synchronise(std::chrono::minutes(1));
    } catch (const Error&) {
        // Whoever waited for that work has had the message.
    }
}

Buffer CudaDevice::allocate(index_t bytes, Memory memory) {
    // A thread begins with the first GPU.
    SY_CUDA(cudaSetDevice(index_));
    if (memory == Memory::staging) return staging_arena.allocate(bytes);
    if (graphs_ != nullptr) return graphs_->allocate(bytes);
    try {
        return device_arena.allocate(bytes);
    } catch (const CudaError& error) {
        throw CudaError(concat(error.what(), ". They were for ", bytes, " bytes of an operand; ",
                               device_arena.used_bytes(), " bytes of other operands are in use"));
    }
}

void CudaDevice::copy(ConstTensorRef from, TensorRef to, Stream& stream) {
    check_copy(from, to);
    SY_CUDA(cudaSetDevice(index_));
    const index_t bytes = dtype_bytes(from.dtype());
    queue_copy({DeviceAccess::address(to), to.stride() * bytes, DeviceAccess::address(from),
                from.stride() * bytes, from.cols() * bytes, from.rows()},
               static_cast<CudaStream&>(stream).get());
    static_cast<CudaStream&>(stream).count_launch();
}

void CudaDevice::upload(const HostRef& made, TensorRef to, Stream& stream) {
    const ConstTensorRef values = made.readable();
    check_copy(values, to);
    const index_t bytes = dtype_bytes(values.dtype());
    const index_t width = values.cols() * bytes;
    if (width == 0 || values.rows() == 0) return;
    SY_CUDA(cudaSetDevice(index_));
    auto& queue = static_cast<CudaStream&>(stream);
    const auto queue_from = [&](const std::byte* from) {
        queue_copy({DeviceAccess::address(to), to.stride() * bytes, from, width, width, values.rows()},
                   queue.get());
        queue.count_launch();
    };
    if (graphs_ != nullptr && graphs_->is_capturing()) {
        std::vector<std::byte> packed(static_cast<std::size_t>(width * values.rows()));
        pack_rows(values, packed.data());
        return queue_from(graphs_->staged_upload(packed));
    }
    retire_uploads(width * values.rows());
    Upload upload{staging_arena.allocate(width * values.rows()), {}};
    pack_rows(values, upload.memory.data());
    if (graphs_ != nullptr)
        graphs_->note_upload({upload.memory.data(), static_cast<std::size_t>(upload.memory.bytes())});
    queue_from(upload.memory.data());
    upload.done = queue.record();
    pending_bytes_ += upload.memory.bytes();
    uploads_.push_back(std::move(upload));
}

std::unique_ptr<Graphs> CudaDevice::make_graphs(Stream& stream) {
    return std::make_unique<CudaGraphs>(*this, static_cast<CudaStream&>(stream), graph_slab_bytes_);
}

index_t CudaDevice::num_launches() const {
    return compute_.num_launches() + transfer_.num_launches() + forked_.num_launches();
}

std::string CudaDevice::products_note() const {
    const std::string groups = group_methods_.notes();
    return groups.empty() ? products_.note : concat(products_.note, "\n", groups);
}

/// Takes back what finished copies have read, and waits for the oldest while too much is on its way.
void CudaDevice::retire_uploads(index_t bytes_needed) {
    while (!uploads_.empty()) {
        const Upload& oldest = uploads_.front();
        auto& stream = static_cast<CudaStream&>(*oldest.done.stream);
        if (!stream.is_done(oldest.done)) {
            if (pending_bytes_ + bytes_needed <= upload_bytes_) return;
            stream.synchronise(oldest.done, kUploadDeadline);
        }
        pending_bytes_ -= oldest.memory.bytes();
        uploads_.pop_front();
    }
}

}  // namespace sy
