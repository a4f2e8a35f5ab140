#pragma once

#include <string>
#include <vector>

#include "runtime/bench/round_trip.hpp"

namespace sy::runtime::bench {

/// What one way has taken for the rows of a shape.
struct MeasuredWay {
    std::string name;
    RoundTripTimes times;
};

/// Times all ways in turn and prints their rows; only a note where the shape takes too much memory.
/// @return  the same on all ranks; empty where it was left out
/// @par Collective over `world`
std::vector<MeasuredWay> measure_exchanges(const BenchOptions& options, const ExchangeShape& shape,
                                           BenchRouting routing, Peers peers, comm::Communicator& world,
                                           Report& report);

/// Measures sizes in turn and writes which exchange was fastest to options.exchange_table.
/// @throws ConfigError for one rank, which has nothing to choose; IoError on all ranks where the file exists or cannot be
///         written
/// @par Collective over `world`
void tune_exchange(const BenchOptions& options, comm::Communicator& world, Report& report);

}  // namespace sy::runtime::bench
