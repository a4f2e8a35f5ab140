#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>
#include <initializer_list>

#include "kernels/cuda/pieces.hpp"

/// Neighbouring values of a row, which a thread moves sixteen bytes at a time where operands allow it, and one by one at the
/// end of a row and where they do not: the arithmetic and its order are the same both ways.
namespace sy::cuda {

/// So many floats are sixteen bytes.
inline constexpr int kLanes = 4;

/// Bytes that are moved at once, of so many values of a type.
template <class T, int count>
inline constexpr std::size_t kAccessBytes = std::min(static_cast<std::size_t>(count) * sizeof(T), kPackBytes);

template <class T, int count>
struct alignas(kAccessBytes<T, count>) Lanes {
    T values[static_cast<std::size_t>(count)];

    __device__ T& operator[](int lane) { return values[lane]; }
    __device__ const T& operator[](int lane) const { return values[lane]; }
};

/// Whether rows of all operands that are there begin where so many values can be moved at once.
template <int count>
bool are_wide(std::initializer_list<ConstTensorRef> operands) {
    for (const ConstTensorRef& operand : operands) {
        if (operand.is_null()) continue;
        const index_t element = dtype_bytes(operand.dtype());
        const index_t bytes = std::min(count * element, index_t{kPackBytes});
        const auto address = reinterpret_cast<std::uintptr_t>(DeviceAccess::address(operand));
        if (address % static_cast<std::uintptr_t>(bytes) != 0) return false;
        if (operand.rows() > 1 && operand.stride() * element % bytes != 0) return false;
    }
    return true;
}

/// Values [first, first + count) of a row of `cols` in float32; zeros behind its end.
/// @param wide  what are_wide<count> says
template <int count, class T>
__device__ Lanes<float, count> load(const T* row, index_t first, index_t cols, bool wide) {
    Lanes<float, count> lanes;
    if (wide && first + count <= cols) {
        const auto stored = *reinterpret_cast<const Lanes<T, count>*>(row + first);
#pragma unroll
        for (int lane = 0; lane < count; ++lane) lanes[lane] = static_cast<float>(stored[lane]);
        return lanes;
    }
#pragma unroll
    for (int lane = 0; lane < count; ++lane)
        lanes[lane] = first + lane < cols ? static_cast<float>(row[first + lane]) : 0.0F;
    return lanes;
}

/// Rounds values and puts them into [first, first + count) of a row, as far as that goes.
template <int count, class T>
__device__ void store(T* row, index_t first, index_t cols, bool wide, const Lanes<float, count>& lanes) {
    if (wide && first + count <= cols) {
        Lanes<T, count> stored;
#pragma unroll
        for (int lane = 0; lane < count; ++lane) stored[lane] = static_cast<T>(lanes[lane]);
        *reinterpret_cast<Lanes<T, count>*>(row + first) = stored;
        return;
    }
#pragma unroll
    for (int lane = 0; lane < count; ++lane) {
        if (first + lane < cols) row[first + lane] = static_cast<T>(lanes[lane]);
    }
}

}  // namespace sy::cuda
