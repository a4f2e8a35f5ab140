#pragma once

#include <functional>

#include "comm/exchange_kind.hpp"
#include "runtime/sim/layer.hpp"
#include "runtime/sim/platform.hpp"

namespace sy::runtime::sim {

/// One simulation: an exchange on so many ranks.
struct Point {
    int num_ranks = 1;
    int ranks_per_node = 1;
    comm::ExchangeKind exchange = comm::ExchangeKind::flat;
    LayerShape layer;
    PlatformShape platform;
    double copy_bandwidth =
        0.0;                 ///< bytes a second that a rank reads and writes when it gathers and adds rows
    double precision = 0.0;  ///< seconds: what ends so close together ends at once
    int precise_ranks = 0;   ///< up to so many, everything ends when it ends
};

struct Simulated {
    LayerTimes times;
    /// Bytes of rows that were handed to MPI, of all ranks, for one dispatch and one return.
    double sent_in_node = 0.0;
    double sent_to_network = 0.0;
    double wall_seconds = 0.0;
};

/// Runs all ranks in a process of its own, since SimGrid can be started once in a process and keeps its memory.
/// @param routing_of  the routing of a rank; called there
/// @throws CommError when the simulated program fails or stands still, with what it said
Simulated simulate(const Point& point, const std::function<RankRouting(int)>& routing_of);

}  // namespace sy::runtime::sim
