#include "kernels/core/host_values.hpp"

#include <utility>

namespace sy {

HostValues::HostValues(HostRead purpose, std::vector<ConstTensorRef> refs, const Context& context)
    : readable_(std::move(refs)) {
    if (readable_.empty()) return;
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

HostRoom::HostRoom(TensorRef to, const Context& context) : to_(to) {
    Device& device = context.device;
    if (!device.is_host_memory())
        staged_ = Tensor(device, to.dtype(), {to.rows(), to.cols()}, Memory::staging);
    context.stream.synchronise(HostValues::kDeadline);
}

void HostRoom::finish(const Context& context) {
    if (!staged_.empty()) context.device.upload(HostRef(staged_), to_, context.stream);
}

Tensor upload(const HostRef& values, const Context& context) {
    const ConstTensorRef& made = values.readable();
    Tensor copy(context.device, made.dtype(), {made.rows(), made.cols()});
    context.device.upload(values, copy, context.stream);
    return copy;
}

}  // namespace sy
