#pragma once

#include <map>
#include <vector>

#include "runtime/telemetry/records.hpp"
#include "runtime/train/session.hpp"

namespace sy::runtime {

/// Measures the load of experts and gives them other places every parallel.rebalance_every steps.
/// Loads are counts over all ranks, so that every rank plans the same.
class Rebalancer {
  public:
    explicit Rebalancer(Session& session) : session_(session) {}

    /// Adds the choices of a step.
    void count(const model::PassResult& step);
    /// Whether experts are to get other places after this step.
    bool due(index_t step) const;
    /// Plans by the choices counted since the last time, moves what the plan moves, and starts to count anew.
    /// @par Collective over the world
    PlacementRecord rebalance(index_t step);

  private:
    Session& session_;
    std::map<index_t, std::vector<index_t>> load_;  ///< [E] of each mixture layer
};

}  // namespace sy::runtime
