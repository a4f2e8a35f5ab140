#pragma once

#include "kernels/cuda/launch.hpp"

/// The threads of a block at one row of a matrix.
namespace sy::cuda {

inline constexpr int kWarp = 32;
inline constexpr unsigned kAllLanes = 0xffffffffU;

struct Sum {
    template <class T>
    __device__ T operator()(T a, T b) const {
        return a + b;
    }
};
/// The larger; a NaN loses, as in the vector loops of the CPU.
struct Largest {
    template <class T>
    __device__ T operator()(T a, T b) const {
        return a > b ? a : b;
    }
};

/// Threads `thread`, of `size` that are a multiple of a warp; each function is called by all of them, and gives all the
/// same. Sums have the order of a binary tree, which depends on `size` alone.
struct Team {
    int thread;
    int size;
    std::uint64_t* scratch;  ///< shared, for each warp one word

    template <class T, class Combine>
    __device__ T reduce(T value, Combine combine) const {
        static_assert(sizeof(T) <= sizeof(std::uint64_t));
        for (int distance = kWarp / 2; distance > 0; distance /= 2)
            value = combine(value, __shfl_xor_sync(kAllLanes, value, distance));
        if (size == kWarp) return value;
        T* const words = reinterpret_cast<T*>(scratch);
        __syncthreads();  // whoever still reads the words of the reduction before
        if (thread % kWarp == 0) words[thread / kWarp] = value;
        __syncthreads();
        value = words[0];
        for (int warp = 1; warp < size / kWarp; ++warp) value = combine(value, words[warp]);
        return value;
    }
    template <class T>
    __device__ T sum(T value) const {
        return reduce(value, Sum{});
    }
    template <class T>
    __device__ T largest(T value) const {
        return reduce(value, Largest{});
    }
    /// All have come here, and see what the others have written.
    __device__ void wait() const { __syncthreads(); }
};

template <class Body>
__global__ void rows_kernel(index_t rows, Body body) {
    SY_SHARED(scratch, Array<std::uint64_t, kWarp>);
    const Team team{static_cast<int>(threadIdx.x), static_cast<int>(blockDim.x), scratch};
    for (index_t row = blockIdx.x; row < rows; row += gridDim.x) body(row, team);
}

/// Queues body(row, team) for each row; its threads share the columns.
/// @param cols  decide how many threads
template <class Body>
void for_rows(const Context& context, index_t rows, index_t cols, Body body) {
    const index_t threads = cols <= 256 ? 32 : cols <= 1024 ? 128 : 512;
    launch(context, {num_blocks(rows, 1), static_cast<unsigned>(threads)}, rows_kernel<Body>, rows, body);
}

}  // namespace sy::cuda
