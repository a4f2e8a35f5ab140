#pragma once

#include <functional>
#include <string>
#include <utility>

#include "kernels/core/device.hpp"

namespace sy {

/// What people and records call a GPU.
struct GpuNames {
    std::string model;         ///< such as "NVIDIA H100 80GB HBM3"
    std::string architecture;  ///< compute capability, such as "sm_90": what its bits may depend on
};

/// A GPU as the program knows it that has loaded the module of CUDA: a device, and what a run asks of it besides.
class Gpu : public Device {
  public:
    const GpuNames& names() const { return names_; }
    /// The most device memory that was handed out at a time.
    virtual index_t peak_bytes() const = 0;
    /// What computes products, and how groups of them are computed as far as that was measured; lines.
    virtual std::string products_note() const = 0;
    /// @param poll  called again and again while the thread that made the device waits for a stream; it may not wait for one
    virtual void set_poll(std::function<void()> poll) = 0;

  protected:
    Gpu(std::string name, GpuNames names, const ops::Bodies& bodies)
        : Device(DeviceKind::cuda, std::move(name), bodies), names_(std::move(names)) {}

  private:
    GpuNames names_;
};

}  // namespace sy
