#pragma once

#include <ostream>
#include <string>
#include <vector>

#include "runtime/sim/options.hpp"

namespace sy::runtime::sim {

/// Prints a line for each simulation, and then where the hierarchical exchange begins to win.
class ScalingReport {
  public:
    ScalingReport(std::ostream& out, const Options& options) : out_(out), options_(options) {}

    void add(const Point& point, const Simulated& simulated);
    /// The sentence below the table; nothing in JSON.
    void finish();

  private:
    struct Entry {
        int num_ranks;
        comm::ExchangeKind exchange;
        double tokens_per_second;  ///< of a rank
        double layer_seconds;
    };
    /// Tokens a second of a rank, over those of the same exchange on the first number of ranks.
    double retained(const Entry& entry) const;

    std::ostream& out_;
    const Options& options_;
    std::vector<Entry> entries_;
};

}  // namespace sy::runtime::sim
