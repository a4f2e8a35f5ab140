#pragma once

#include <string>

#include "comm/exchange_kind.hpp"
#include "comm/topology/topology.hpp"
#include "runtime/config/config.hpp"
#include "runtime/train/exchange_table.hpp"

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

/// The same for ranks with a GPU each: `auto` takes the hierarchical exchange where ranks share nodes and there are several
/// of these. On one node, flat returns the sum of a rank's results where the other one returns each. It never takes `one_sided`, which is experimental.
/// @param num_nodes  of one expert-parallel group
ExchangeChoice choose_exchange_of_gpus(ExchangeSetting setting, int ranks_of_node, int num_nodes);

/// Why `parallel.exchange = auto` does not take an exchange for such devices, whatever a table says; empty where it may.
std::string automatic_problem(DeviceKind device, comm::ExchangeKind kind);

/// What a run needs of its exchange.
struct ExchangeNeed {
    std::string nodes;      ///< nodes_text of those that hold one copy of the experts
    index_t tokens = 0;     ///< of a rank, in a micro-step
    index_t row_bytes = 0;  ///< on the way to experts
    index_t top_k = 0;
    double shared_bytes = 0.0;  ///< of a node, when its ranks share rows
    double room_bytes = 0.0;
    DeviceKind device = DeviceKind::cpu;
};

/// What `auto` takes with a table: the exchange that was fastest for such rows, of those that can be had.
/// @param path  of the table, for the note
/// @param rule  taken instead, with a note why, when the table is of other nodes or has no exchange that can be had
ExchangeChoice choose_exchange(const ExchangeTable& table, const std::string& path, const ExchangeNeed& need,
                               const ExchangeChoice& rule);

/// Shared memory that a node needs at most in a training step with even routing: rows of every mixture are kept until
/// backward, results of one at a time. Half as much again allows for routing that is not even.
double shared_bytes_of_node(const Config& config, int group_size, int ranks_of_node, int num_ranks);

/// The choice of all ranks. @param group  expert-parallel
/// @throws ConfigError for an exchange that this build does not have; IoError on all ranks where parallel.exchange_table cannot be read or is no table
/// @par Collective over `world`
ExchangeChoice choose_exchange(const Config& config, comm::Communicator& world, const comm::Topology& group);

}  // namespace sy::runtime
