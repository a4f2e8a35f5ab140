#pragma once

#include <memory>
#include <string>

#include "comm/nccl/nccl_communicator.hpp"
#include "comm/topology/topology.hpp"

namespace sy::runtime {

/// The communicators of a run as its rows, gradients and weights use them: between GPUs by NCCL, where all ranks have it;
/// else those that they are made from.
class RowGroups {
  public:
    /// @param world, groups, device  borrowed
    /// @throws CommError, TimeoutError where ranks have NCCL and it does not connect them
    /// @par Collective over `world`
    RowGroups(comm::Communicator& world, comm::GridCommunicators& groups, Device& device);

    comm::Communicator& world() { return gpu_world_ ? *gpu_world_ : world_; }
    comm::GridCommunicators& groups() { return gpu_world_ ? gpu_groups_ : groups_; }
    /// For the user: how rows go from GPU to GPU; empty where there is nothing to say.
    const std::string& note() const { return nccl_.note; }
    /// Seconds that this rank has waited in those by NCCL.
    double waited_seconds() const;
    /// For waits for a GPU: keeps the deadline of what it waits for in its turn, and tells ranks that ask.
    /// @throws TimeoutError, CommError
    void poll();
    /// Ends those by NCCL. @par Collective
    void close();

  private:
    comm::Communicator& world_;
    comm::GridCommunicators& groups_;
    comm::NcclChoice nccl_;
    std::unique_ptr<comm::Communicator> gpu_world_;  ///< null without NCCL
    comm::GridCommunicators gpu_groups_;
};

}  // namespace sy::runtime
