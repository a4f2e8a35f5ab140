#pragma once

#include <memory>

#include "comm/exchange/unit_exchange.hpp"
#include "kernels/core/arena.hpp"

namespace sy::comm {

/// Windows of a group's devices, as an arena of each rank: all ranks take pieces of equal sizes in the same order, and so
/// open another window at the same time, without a word about it.
class WindowMemory {
  public:
    /// @param group  borrowed, as `context` is
    /// @throws ConfigError on all ranks, where devices do not reach each other's memory @par Collective
    WindowMemory(Communicator& group, const Context& context);

    DeviceWindows& windows() { return *windows_; }
    const DeviceWindows& windows() const { return *windows_; }
    Arena& arena() { return arena_; }

  private:
    static constexpr index_t kSlabBytes = index_t{8} << 20;

    std::unique_ptr<DeviceWindows> windows_;
    Arena arena_;
};

/// The flat exchange of devices that put rows into each other's memory, where they stay. A rank takes as much memory for
/// what comes as the rank that gets most: when a plan is made all ranks agree on how much that is.
class WindowExchange : private WindowMemory, public UnitExchange {
  public:
    /// @param topology  of the group
    WindowExchange(Communicator& group, const Topology& topology, const Context& context);

    DispatchPlan plan(const Choices& choices, const Placement& placement, ReturnRows return_rows,
                      SlotChunks chunks) override;
    void close() override;
    index_t reachable_bytes() const override { return windows().bytes(); }

  protected:
    Tensor allocate(DType dtype, Shape shape, index_t most_rows) override;
};

}  // namespace sy::comm
