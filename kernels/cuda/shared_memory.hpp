#pragma once

#include <cstddef>

/// Memory that the threads of a block share. SY_SHARED(name, type) is a variable `name` of that type, which may be an
/// array's: `SY_SHARED(sums, Array<float, 32>)`. SY_DYNAMIC_SHARED(name, type) points to what the launch asked for.
/// Kernels use no other spelling: on the CPU (tests/cuda_on_cpu) this is memory that the emulation watches.
#ifdef SY_CUDA_EMULATION
#define SY_SHARED(name, ...) SY_EMULATED_SHARED(name, __VA_ARGS__)
#define SY_DYNAMIC_SHARED(name, ...) SY_EMULATED_DYNAMIC_SHARED(name, __VA_ARGS__)
#else
#define SY_SHARED(name, ...) __shared__ __VA_ARGS__ name
#define SY_DYNAMIC_SHARED(name, ...) extern __shared__ __align__(16) __VA_ARGS__ name[]
#endif

namespace sy::cuda {

template <class T, std::size_t size>
using Array = T[size];

}  // namespace sy::cuda
