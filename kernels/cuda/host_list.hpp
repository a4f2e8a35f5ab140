#pragma once

#include "kernels/core/context.hpp"
#include "kernels/core/host_view.hpp"
#include "kernels/core/list.hpp"
#include "kernels/core/tensor.hpp"
#include "kernels/cuda/view.hpp"

namespace sy::cuda {

/// A list for the kernels of one body: copied to the GPU when it is the host's, such as a plan, or where it is there already. A
/// copy's memory goes back at its end: what is queued later on the same stream may use it.
template <class T>
class HostList {
  public:
    HostList(const List<T>& values, const Context& context) {
        if (values.empty()) return;
        if (values.is_of_host()) {
            memory_ = Tensor(context.device, dtype_of<T>::value, {values.size()});
            context.device.upload(values.of_host(), memory_, context.stream);
        }
        data_ = cuda::values<const T>(values.is_of_host() ? memory_.ref() : values.on_device());
    }
    /// Null when the list is empty.
    const T* data() const { return data_; }

  private:
    Tensor memory_;
    const T* data_ = nullptr;
};

}  // namespace sy::cuda
