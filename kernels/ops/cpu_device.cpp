#include "kernels/ops/cpu_device.hpp"

#include <cstring>
#include <utility>

#include "kernels/core/fits.hpp"
#include "kernels/core/host_view.hpp"
#include "kernels/ops/cpu_bodies.hpp"

namespace sy {
namespace {

class ImmediateStream : public Stream {
  public:
    Event record() override { return {this, 0}; }
    void wait(const Event&) override {}
    void synchronise(std::chrono::milliseconds) override {}
};

}  // namespace

CpuDevice::CpuDevice(int num_threads, index_t slab_bytes)
    : Device(DeviceKind::cpu, "cpu", ops::kCpuBodies),
      team_(num_threads),
      arena_(slab_bytes),
      compute_(std::make_unique<ImmediateStream>()),
      transfer_(std::make_unique<ImmediateStream>()) {}

CpuDevice::CpuDevice(int num_threads, Parts parts)
    : Device(DeviceKind::cpu, std::move(parts.name), parts.bodies),
      team_(num_threads),
      arena_(parts.slab_bytes, std::move(parts.map_slab)),
      compute_(parts.compute ? std::move(parts.compute) : std::make_unique<ImmediateStream>()),
      transfer_(parts.transfer ? std::move(parts.transfer) : std::make_unique<ImmediateStream>()) {}

Buffer CpuDevice::allocate(index_t bytes, Memory) {
    return arena_.allocate(bytes);
}

void CpuDevice::copy(ConstTensorRef from, TensorRef to, Stream&) {
    SY_FITS(from.dtype() == to.dtype() && from.rows() == to.rows() && from.cols() == to.cols(), "copy: [",
            from.rows(), ", ", from.cols(), "] ", dtype_name(from.dtype()), " into [", to.rows(), ", ",
            to.cols(), "] ", dtype_name(to.dtype()));
    const auto width = static_cast<std::size_t>(from.cols() * dtype_bytes(from.dtype()));
    if (width == 0) return;
    for (index_t r = 0; r < from.rows(); ++r)
        std::memmove(HostAccess::row(to, r), HostAccess::row(from, r), width);
}

void CpuDevice::upload(const HostRef& values, TensorRef to, Stream& stream) {
    CpuDevice::copy(values.readable(), to, stream);
}

}  // namespace sy
