#pragma once

#include <memory>
#include <string>

#include "comm/axes.hpp"
#include "comm/communicator.hpp"

namespace sy::comm {

/// Which ranks share a node. A pure value, equal on all ranks.
struct Topology {
    PerRank<int> node_of_rank;  ///< nodes numbered by their lowest rank

    int num_ranks() const { return static_cast<int>(node_of_rank.size()); }
    int num_nodes() const;
    int ranks_on_node_of(int rank) const;
    std::string to_string() const;
    bool operator==(const Topology&) const = default;
};

/// @par Collective over `world`
Topology discover_topology(Communicator& world);

/// World ranks as a grid: world_rank = data_parallel_rank * expert_parallel + expert_parallel_rank. The
/// expert_parallel ranks of a row hold one copy of all experts; the ranks of a column hold replicas of the same ones.
struct ProcessGrid {
    int expert_parallel = 1;
    int data_parallel = 1;

    int expert_parallel_rank(int world_rank) const { return world_rank % expert_parallel; }
    int data_parallel_rank(int world_rank) const { return world_rank / expert_parallel; }
    std::string to_string() const;
    bool operator==(const ProcessGrid&) const = default;
};

/// @param expert_parallel  ranks that share one copy of the experts; 0: all of them
/// @throws ConfigError when it does not divide the world
ProcessGrid make_process_grid(int world_size, int expert_parallel);

/// The communicators of a grid. @par Collective construction and close
struct GridCommunicators {
    std::unique_ptr<Communicator> expert_group;   ///< one copy of all experts
    std::unique_ptr<Communicator> replica_group;  ///< replicas of this rank's experts
    /// Seconds that this rank has waited in either.
    double waited_seconds() const { return expert_group->waited_seconds() + replica_group->waited_seconds(); }
    void close();
};
GridCommunicators split_grid(Communicator& world, const ProcessGrid& grid);

}  // namespace sy::comm
