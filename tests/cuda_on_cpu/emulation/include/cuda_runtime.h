// Stands before the toolkit's <cuda_runtime.h> on the include path of targets that link sy_cuda_emulation. Declarations of
// the host's interface stay the toolkit's, so that a wrong signature does not compile; the device language is added here.
#pragma once
#pragma GCC system_header // for include_next
#if defined(__CUDACC__)
#error "the CUDA emulation must not be on nvcc's include path"
#endif
#define SY_CUDA_EMULATION 1

// The toolkit leaves these to whoever defines them first, and <cublas_v2.h> may have come before.
#undef __shared__
#undef __launch_bounds__
#undef __global__
#undef __device__
#undef __host__
#undef __constant__
#undef __managed__
#undef __grid_constant__
#undef __cluster_dims__
// A raw __shared__ variable would have neither red zones nor a life of its own for each block.
#define __shared__ _Pragma("GCC error \"write SY_SHARED or SY_DYNAMIC_SHARED (kernels/cuda/shared_memory.hpp)\"")
#define __launch_bounds__(...)
#define __global__
#define __device__
#define __host__
#define __constant__
#define __managed__ _Pragma("GCC error \"managed memory is not emulated\"")
#define __grid_constant__
#define __cluster_dims__(...) _Pragma("GCC error \"clusters are not emulated\"")
// The toolkit's template erases the types of the arguments, which are checked here.
#define cudaLaunchKernelEx cudaLaunchKernelEx_of_the_toolkit
#include_next <cuda_runtime.h>
#undef cudaLaunchKernelEx
#undef __maxnreg__
#define __maxnreg__(...)

#include "tests/cuda_on_cpu/emulation/device/arithmetic.hpp"
#include "tests/cuda_on_cpu/emulation/device/atomics.hpp"
#include "tests/cuda_on_cpu/emulation/device/barriers.hpp"
#include "tests/cuda_on_cpu/emulation/device/memory.hpp"
#include "tests/cuda_on_cpu/emulation/device/warp.hpp"
#include "tests/cuda_on_cpu/emulation/runtime/launch.hpp"
