#pragma once

// Shared memory of the suites' kernels, as kernels/cuda/shared_memory.hpp has it for the bodies of operations.
#ifdef SY_CUDA_EMULATION
#define SY_SHARED(name, ...) SY_EMULATED_SHARED(name, __VA_ARGS__)
#define SY_DYNAMIC_SHARED(name, ...) SY_EMULATED_DYNAMIC_SHARED(name, __VA_ARGS__)
#else
#include <type_traits>
#define SY_SHARED(name, ...) __shared__ std::type_identity_t<__VA_ARGS__> name
#define SY_DYNAMIC_SHARED(name, ...) extern __shared__ __align__(16) __VA_ARGS__ name[]
#endif
