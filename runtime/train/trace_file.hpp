#pragma once

#include <filesystem>
#include <span>

#include "comm/communicator.hpp"
#include "runtime/json/json.hpp"
#include "runtime/telemetry/trace_events.hpp"

namespace sy::runtime {

/// What a rank has for a trace.
struct RankTrace {
    TraceSource source;
    std::vector<TraceEvent> events;
    std::vector<TraceEvent> background;
    index_t num_dropped = 0;
};

/// Writes a trace of all ranks, which did not exist, on rank 0: under another name first. Ranks put their events into words
/// themselves, and rank 0 takes them piece by piece, one rank after the other.
/// @param about  the steps and what else readers should know
/// @throws IoError on every rank when it cannot be written or is there already
/// @par Collective over `world`
void write_trace(comm::Communicator& world, const std::filesystem::path& path, const RankTrace& mine,
                 Json::Object about);

}  // namespace sy::runtime
