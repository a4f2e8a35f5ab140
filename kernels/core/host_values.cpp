#include "kernels/core/host_values.hpp"

#include <utility>

namespace sy {

HostValues::HostValues(HostRead purpose, std::vector<ConstTensorRef> refs, const Context& context)
    : readable_(std::move(refs)) {
    Device& device = context.device;
    device.count_read(purpose);
    if (!device.is_host_memory()) {
        for (ConstTensorRef& ref : readable_) {
            if (ref.is_null()) continue;
            staged_.emplace_back(device, ref.dtype(), Shape{ref.rows(), ref.cols()}, Memory::staging);
            device.copy(ref, staged_.back(), context.stream);
            ref = staged_.back();
        }
    }
    context.stream.synchronise(kDeadline);
}

}  // namespace sy
