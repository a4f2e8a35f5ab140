#pragma once

#include <optional>
#include <span>
#include <string>

#include "comm/topology/topology.hpp"

/// How many threads a rank can keep busy: it follows what it may run on, not what its machine has.
namespace sy::runtime {

/// Whether this process may run on processor p (a hardware thread), as '1' or '0' at p; up to the last '1'.
/// @throws Error when the system does not say
std::string allowed_processors();

/// Processors' worth of time of a control group, from the text of its cpu.max ("150000 100000" is 1.5).
/// @return nothing where it has no limit
std::optional<double> processor_quota(const std::string& text);

/// A rank's processors, each divided among all ranks of its node that may run on it; at least 1.
/// @param masks  of the ranks of a node, as allowed_processors() gives them
int processor_share(std::span<const std::string> masks, std::size_t own);

/// What the ranks of a node were given.
struct ProcessorUse {
    int threads = 1;          ///< of this rank
    int allowed = 1;          ///< processors that it may run on
    int allowed_on_node = 1;  ///< that any rank of its node may run on
    int on_node = 1;          ///< that its node has
    bool by_mpirun = false;   ///< Open MPI's mpirun, which binds, started it
};

/// What keeps threads from processors, with what to type; empty when nothing does.
std::string processor_note(const ProcessorUse& use);

/// Threads for a rank whose settings leave them open, and the note on how many it has.
struct ProcessorPlan {
    int threads = 1;
    std::string note;
};
/// @param threads  what the settings ask for; 0: this rank's share
/// @par Collective over `world`
ProcessorPlan plan_processors(index_t threads, comm::Communicator& world, const comm::Topology& topology);

}  // namespace sy::runtime
