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

    /// @param refs  null ones stay null; without any nothing is read nor waited for
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

/// Where the host writes what is meant for a device: into the memory itself where it can, else into staging memory, from
/// which it is then brought there.
class HostRoom {
  public:
    /// @param to  without gaps
    /// @par Waits    for all that is queued on the context's stream, which may use `to`; HostValues' deadline
    /// @par Buffers  `to` belongs to whoever writes until finish() has been called
    HostRoom(TensorRef to, const Context& context);

    /// What the host can write, of the sides of `to`: for host_values() and host_bytes().
    TensorRef writable() { return staged_.empty() ? to_ : staged_; }
    /// All has been written: what is queued from now on finds it in the device's memory.
    void finish(const Context& context);

  private:
    TensorRef to_;
    Tensor staged_;  ///< empty where the host writes to the device's memory
};

/// A copy in the memory of a device of what the host has made, for operations queued from now on.
Tensor upload(const HostRef& values, const Context& context);

}  // namespace sy
