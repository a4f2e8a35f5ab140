#pragma once

#include <span>
#include <string>
#include <vector>

#include "runtime/report/scaling_study.hpp"

namespace sy::runtime {

/// What `switchyard-sim` is to be asked, a line for each size, measured or predicted: exchange, expert-parallel size, nodes and
/// ranks of simulated.tsv, and behind them the simulator's options. Ranks compute as fast as those of the smallest point
/// did. Series that the simulator does not know are left out and named in `unknown`, with the reason.
std::vector<std::string> simulations(const ScalingStudy& study, std::span<const ScalingSeries> series,
                                     std::vector<std::string>& unknown);

}  // namespace sy::runtime
