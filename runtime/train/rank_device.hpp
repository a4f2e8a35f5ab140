#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "comm/topology/topology.hpp"
#include "kernels/cuda/module.hpp"
#include "kernels/ops/cpu_device.hpp"

namespace sy::runtime {

/// What a rank computes on, with what a run asks of it that operations do not.
class RankDevice {
  public:
    /// A processor gets `num_threads`; of GPUs each rank of a node takes one of its own.
    /// @throws ConfigError on every rank when one of them cannot have its GPU
    /// @par Collective over `world`
    RankDevice(DeviceKind kind, int num_threads, comm::Communicator& world, const comm::Topology& topology);

    Device& device();
    /// By which its bits may differ from others': "avx2", or "sm_90" of a GPU.
    std::string instruction_set() const;
    /// For people: the same, of a GPU with its name.
    std::string text() const;
    /// What computes products on a GPU; empty on a processor, whose instruction set says it.
    std::string products_note() const;
    bool is_gpu() const { return gpu_ != nullptr; }
    /// The most memory that was handed out at a time.
    index_t peak_bytes() const;
    /// Has `poll` called again and again while it computes, or is waited for.
    void set_poll(std::function<void()> poll);

  private:
    std::unique_ptr<CpuDevice> cpu_;
    std::unique_ptr<Gpu> gpu_;  ///< one of both is there
};

/// The GPU that each rank of a node takes, by index: of those that it sees the first that no rank before it has taken.
/// Ranks may see the same GPUs, or each its own, as the launcher likes.
/// @param visible  of each rank, what tells GPUs apart
/// @return nothing for a rank that finds none left
std::vector<std::optional<int>> choose_gpus(std::span<const std::vector<std::string>> visible);

}  // namespace sy::runtime
