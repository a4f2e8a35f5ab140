#include "kernels/cuda/cuda_bodies.hpp"

namespace sy::ops {

/// What CUDA supports: everything.
constinit const Bodies kCudaBodies{
#define SY_ROW(name, type) .name = on_cuda::name,
    SY_OPERATIONS(SY_ROW)
#undef SY_ROW
};

}  // namespace sy::ops
