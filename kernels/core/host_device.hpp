#pragma once

/// Before functions of headers that run on the host and in kernels of a GPU: arithmetic that must be the same on both.
#ifdef __CUDACC__
#define SY_HOST_DEVICE __host__ __device__
#else
#define SY_HOST_DEVICE
#endif
