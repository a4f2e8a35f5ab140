#pragma once

#include <span>
#include <string>

namespace sy::runtime {

/// The whole program: parses, runs, and turns every failure into one message and an exit code.
/// @return 0 good, 1 failed, 2 wrong usage or config, 3 time-out or lost peer
int run_command_line(std::span<const char* const> arguments);

/// `switchyard doctor`: what is in the binary and what it sees. Starts MPI only under a launcher.
std::string doctor_report();

/// `switchyard plan`: size and cost of a model on `num_ranks` ranks, from the config alone.
struct Config;
std::string plan_report(const Config& config, int num_ranks);

}  // namespace sy::runtime
