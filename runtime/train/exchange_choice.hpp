#pragma once

#include <string>

#include "comm/exchange_kind.hpp"
#include "comm/topology/topology.hpp"
#include "runtime/config/config.hpp"

namespace sy::runtime {

/// How rows travel in a run, and for `parallel.exchange = auto` why.
struct ExchangeChoice {
    comm::ExchangeKind kind = comm::ExchangeKind::flat;
    std::string note;  ///< empty where the settings say it
};

/// What the settings ask for; `auto` takes the hierarchical exchange where ranks of a group share a node and it has room
/// for their rows.
/// @param ranks_of_node  of one expert-parallel group, on the node that has most of them
/// @param needed_bytes, room_bytes  of shared memory, on a node
ExchangeChoice choose_exchange(ExchangeSetting setting, int ranks_of_node, double needed_bytes,
                               double room_bytes);

/// Shared memory that a node needs at most in a training step with even routing: rows of every mixture are kept until
/// backward, results of one at a time. Half as much again allows for routing that is not even.
double shared_bytes_of_node(const Config& config, int group_size, int ranks_of_node, int num_ranks);

/// The choice of all ranks. @param group  expert-parallel
/// @par Collective over `world`
ExchangeChoice choose_exchange(const Config& config, comm::Communicator& world, const comm::Topology& group);

}  // namespace sy::runtime
