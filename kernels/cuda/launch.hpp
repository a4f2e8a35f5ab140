#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>
#include <utility>

#include "kernels/cuda/error.hpp"
#include "kernels/cuda/shared_memory.hpp"
#include "kernels/cuda/stream.hpp"

/// Starting kernels: the one place that does, so that each launch is checked and the emulation sees all arguments.
namespace sy::cuda {

/// Blocks of threads. No block: nothing is started.
struct Grid {
    dim3 blocks;
    dim3 threads;
    index_t shared_bytes = 0;
};

/// So many blocks at most along x: kernels loop over what is left.
inline constexpr index_t kMostBlocks = 65535;

inline unsigned num_blocks(index_t items, index_t items_a_block) {
    return static_cast<unsigned>(std::min(kMostBlocks, ceil_div(items, items_a_block)));
}

/// Queues a kernel on the context's stream. Returns at once.
/// @throws CudaError when it cannot be started, or one before it has failed
template <class... Parameters, class... Arguments>
void launch(const Context& context, const Grid& grid, void (*kernel)(Parameters...),
            Arguments&&... arguments) {
    if (grid.blocks.x == 0 || grid.blocks.y == 0 || grid.blocks.z == 0) return;
    cudaLaunchConfig_t config{};
    config.gridDim = grid.blocks;
    config.blockDim = grid.threads;
    config.dynamicSmemBytes = static_cast<std::size_t>(grid.shared_bytes);
    config.stream = stream_of(context);
    check(cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...), "cudaLaunchKernelEx");
    static_cast<CudaStream&>(context.stream).count_launch();
}

template <class Body>
__global__ void elements_kernel(index_t count, Body body) {
    const index_t step = static_cast<index_t>(gridDim.x) * blockDim.x;
    for (index_t i = static_cast<index_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += step)
        body(i);
}

/// Queues body(i) for i in [0, count), in any order.
template <class Body>
void for_elements(const Context& context, index_t count, Body body) {
    constexpr unsigned kThreads = 256;
    launch(context, {num_blocks(count, kThreads), kThreads}, elements_kernel<Body>, count, body);
}

template <class Body>
__global__ void matrix_kernel(index_t rows, index_t cols, Body body) {
    const index_t step = static_cast<index_t>(gridDim.x) * blockDim.y;
    for (index_t row = static_cast<index_t>(blockIdx.x) * blockDim.y + threadIdx.y; row < rows; row += step) {
        for (index_t col = threadIdx.x; col < cols; col += blockDim.x) body(row, col);
    }
}

/// Queues body(row, col) for each element of a matrix, in any order; neighbouring threads have neighbouring columns.
template <class Body>
void for_matrix(const Context& context, index_t rows, index_t cols, Body body) {
    if (cols == 0) return;
    const auto across = static_cast<unsigned>(std::min<index_t>(256, round_up(cols, 32)));
    const unsigned down = 256 / across;
    launch(context, {num_blocks(rows, down), {across, down}}, matrix_kernel<Body>, rows, cols, body);
}

}  // namespace sy::cuda
