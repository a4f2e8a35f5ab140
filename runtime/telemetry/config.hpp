#pragma once

#include <string>

#include "kernels/core/types.hpp"

/// The settings that telemetry owns.
namespace sy::runtime {

struct TelemetryConfig {
    std::string routing_trace =
        "none";  ///< the steps whose routing is written down, as is_chosen_step reads them
};

/// Whether a pattern of steps, none, every:N (each N-th) or a list such as 10,200, has a step.
bool is_chosen_step(const std::string& pattern, index_t step);
/// What is wrong with such a pattern, or empty.
std::string step_pattern_problem(const std::string& pattern);

}  // namespace sy::runtime
