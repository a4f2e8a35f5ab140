#pragma once

#include <memory>
#include <string>
#include <vector>

#include "comm/communicator.hpp"
#include "comm/topology/units.hpp"
#include "kernels/core/arena.hpp"
#include "kernels/core/device.hpp"
#include "kernels/core/tensor.hpp"

namespace sy::comm {

class SharedSegment;

/// Where rows lie that travel between units of one rank: in the memory of a device, or in an arena that others can write
/// to.
class RowMemory {
  public:
    /// @param reachable  borrowed; null: the device's memory, and staging for what the host writes down
    RowMemory(Device& device,  // NOLINT(google-explicit-constructor): a device is enough
              Arena* reachable = nullptr)
        : device_(device), reachable_(reachable) {}

    /// For operations.
    Tensor tensor(DType dtype, Shape shape) const {
        return reachable_ == nullptr ? Tensor(device_, dtype, shape) : Tensor(*reachable_, dtype, shape);
    }
    /// For the host.
    Buffer buffer(index_t bytes) const {
        return reachable_ == nullptr ? device_.allocate(bytes, Memory::staging) : reachable_->allocate(bytes);
    }

  private:
    Device& device_;
    Arena* reachable_;
};

/// Memory that the ranks of a unit share, and the order in which they use it. All members make the same allocations and
/// releases in the same order, and so find each other's values at the same place without a word about addresses.
///
/// Members meet in *phases*: arrive() announces that this rank has come so far, wait() returns when all members have. What
/// a member has written before arrive() can be read by the others after wait(). Memory that is allocated anew may still be
/// read by a member that has not released it yet: it may be written once all members have arrived after the allocation.
///
/// A unit of one rank has that rank's own memory and waits for nobody.
class UnitMemory {
  public:
    /// @param group  borrowed; carries one message to each member now, and is polled in waits
    /// @param own    of this rank, for a unit of one rank
    /// @par Collective over the members of this rank's unit
    UnitMemory(Communicator& group, const Units& units, const RowMemory& own);
    ~UnitMemory();
    UnitMemory(const UnitMemory&) = delete;
    UnitMemory& operator=(const UnitMemory&) = delete;

    /// Equal on all members. Tensors are for operations, buffers for the host.
    /// @throws IoError when there is no such memory, on all members
    /// @par Collective over the members
    Tensor allocate(DType dtype, Shape shape);
    Buffer allocate(index_t bytes);

    using Phase = std::uint64_t;
    /// At most twice without a wait. @par Waits  never
    Phase arrive();
    /// @par Waits  until all members have arrived at `phase`, at most the group's deadline
    /// @throws TimeoutError naming the members that have not; LogicError when members have not allocated alike
    void wait(Phase phase, const char* doing);
    void meet(const char* doing) { wait(arrive(), doing); }

    /// Bytes of shared memory whose pages this rank has taken from the system; those of all members are what the unit has.
    index_t reserved_bytes() const;

  private:
    struct Shared;

    std::byte* map_slab(index_t bytes);

    Communicator& group_;
    RowMemory own_;
    std::vector<int> members_;
    std::unique_ptr<Shared> shared_;  ///< none for a unit of one rank
    Phase phase_ = 0;
};

}  // namespace sy::comm
