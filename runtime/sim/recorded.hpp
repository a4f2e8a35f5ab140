#pragma once

#include <filesystem>

#include "model/moe/routing_log.hpp"
#include "runtime/sim/routing.hpp"

namespace sy::runtime::sim {

/// The routing of a mixture in a step of training, as telemetry.routing_trace has written it.
class RecordedRouting {
  public:
    /// @param layer  of the first micro-step; -1: the first that there is
    /// @throws IoError when the file is no such trace; ConfigError when it has no such layer
    RecordedRouting(const std::filesystem::path& trace, index_t layer);

    index_t experts() const { return experts_; }
    index_t top_k() const { return record_.top_k; }
    index_t tokens() const { return record_.num_tokens; }
    /// Ranks take the tokens in turn, `tokens` each, and begin anew where the recorded ones end.
    RankRouting of_rank(int rank, index_t tokens) const;

  private:
    index_t experts_ = 0;
    model::RoutingRecord record_;
};

}  // namespace sy::runtime::sim
