#pragma once

#include <string>
#include <vector>

#include "comm/communicator.hpp"
#include "model/moe/routing_log.hpp"

namespace sy::runtime::bench {

/// A mixture of a routing trace, to be repeated on the ranks of a benchmark.
struct RecordedMixture {
    std::string name;        ///< "step 10.0, layer 1": step, micro-step, layer
    index_t num_tokens = 0;  ///< of all ranks
    index_t experts = 0;
    index_t hidden = 0;
    model::RoutingRecord share;  ///< this rank's equal run of the tokens
};

/// All mixtures of the trace, its tokens split anew over the ranks.
/// @throws IoError on every rank when any cannot read the file, or when it was not written by telemetry.routing_trace
/// @par Collective over `world`
std::vector<RecordedMixture> read_recorded_mixtures(const std::string& path, comm::Communicator& world);

}  // namespace sy::runtime::bench
