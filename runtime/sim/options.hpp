#pragma once

#include <optional>
#include <string>
#include <vector>

#include "runtime/sim/simulation.hpp"

namespace sy::runtime::sim {

struct Options {
    std::vector<int> ranks;
    std::vector<comm::ExchangeKind> exchanges;
    RoutingProfile profile;
    std::string trace;   ///< a recorded routing instead of the profile; empty: none
    index_t layer = -1;  ///< of the trace; -1: its first
    Point point;         ///< all but the ranks and the exchange
    bool as_json = false;
    bool check = false;  ///< rows as wide as they are, and their values compared
};

/// @return nothing where help was asked for, which stands in `help` then
/// @throws ConfigError with all problems at once
std::optional<Options> parse_options(int argc, const char* const* argv, std::string& help);

}  // namespace sy::runtime::sim
