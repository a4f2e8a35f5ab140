#pragma once

#include <span>

#include "kernels/core/context.hpp"
#include "kernels/core/host_view.hpp"
#include "kernels/core/tensor.hpp"
#include "kernels/cuda/view.hpp"

namespace sy::cuda {

/// A list of the host, such as ids or a plan, copied to the GPU for the kernels of one body. The memory goes back at its
/// end: what is queued later on the same stream may use it.
template <class T>
class HostList {
  public:
    HostList(std::span<const T> values, const Context& context) {
        if (values.empty()) return;
        memory_ = Tensor(context.device, dtype_of<T>::value, {static_cast<index_t>(values.size())});
        context.device.upload(values, memory_, context.stream);
    }
    /// Null when the list is empty.
    const T* data() const { return memory_.empty() ? nullptr : cuda::values<const T>(memory_.ref()); }

  private:
    Tensor memory_;
};

}  // namespace sy::cuda
