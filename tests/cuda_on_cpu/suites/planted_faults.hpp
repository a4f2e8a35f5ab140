#pragma once

#include <driver_types.h>

#include <cstddef>
#include <string>

/// Kernels with planted faults, and right ones for faults of streams.
struct Shape {
    unsigned num_blocks = 1;
    unsigned num_threads = 256;
    std::size_t dynamic_bytes = 0;
};

/// A pointer as most kernels get it: inside of what is passed by value.
struct View {
    const float* first = nullptr;
    int size = 0;
};

/// @param faulty  1: with the fault of the name; 0: without
cudaError_t launch_faulty(const std::string& name, const Shape& shape, cudaStream_t stream, float* out,
                          int size, int faulty);
cudaError_t launch_fill(const Shape& shape, cudaStream_t stream, float* out, int size, float value);
cudaError_t launch_add_one(const Shape& shape, cudaStream_t stream, const float* in, float* out, int size);
cudaError_t launch_add_one_of_view(const Shape& shape, cudaStream_t stream, View in, float* out);
