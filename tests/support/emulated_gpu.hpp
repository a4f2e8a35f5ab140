#pragma once

#include "kernels/cuda/cuda_bodies.hpp"
#include "kernels/cuda/cuda_device.hpp"

namespace sy::test {

/// A GPU of the emulation (tests/cuda_on_cpu) with the bodies of CUDA. Each tensor has memory of its own, so that what
/// leaves it is caught.
class EmulatedGpu : public CudaDevice {
  public:
    static constexpr CudaDeviceOptions kOptions{.index = 0, .slab_bytes = 1, .staging_slab_bytes = 4096};

    explicit EmulatedGpu(const CudaDeviceOptions& options = kOptions)
        : CudaDevice(options, ops::kCudaBodies) {}
};

}  // namespace sy::test
