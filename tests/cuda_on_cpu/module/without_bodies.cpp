#include "kernels/cuda/cuda_bodies.hpp"

namespace sy::ops {

/// A device of this table is refused where there is a GPU to make it of.
constinit const Bodies kCudaBodies{};

}  // namespace sy::ops
