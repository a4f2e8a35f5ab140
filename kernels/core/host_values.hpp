#pragma once

#include <chrono>
#include <vector>

#include "kernels/core/context.hpp"
#include "kernels/core/tensor.hpp"

namespace sy {

/// Values of a device that the host reads: where it can read the memory itself, that memory; else a copy in staging
/// memory. Counted by the device under its purpose, one for all values together.
class HostValues {
  public:
    /// No read of a step takes longer, however much is queued before it.
    static constexpr std::chrono::minutes kDeadline{5};

    /// @param refs  null ones stay null
    /// @throws TimeoutError after kDeadline
    /// @par Waits  for all that is queued on the context's stream
    /// @par Buffers  may be read while this lives, and on the host's own memory until something else is written there
    HostValues(HostRead purpose, std::vector<ConstTensorRef> refs, const Context& context);

    /// What the host can read of ref `idx`: for host() and host_values().
    ConstTensorRef operator[](std::size_t idx) const { return readable_.at(idx); }

  private:
    std::vector<Tensor> staged_;
    std::vector<ConstTensorRef> readable_;
};

}  // namespace sy
