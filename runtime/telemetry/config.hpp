#pragma once

#include <string>

#include "kernels/core/types.hpp"

/// The settings that telemetry owns.
namespace sy::runtime {

struct TelemetryConfig {
    std::string routing_trace =
        "none";                  ///< the steps whose routing is written down, as is_chosen_step reads them
    std::string trace = "none";  ///< the steps whose time is written down, as parse_traced_steps reads them
};

/// Whether a pattern of steps, none, every:N (each N-th) or a list such as 10,200, has a step.
bool is_chosen_step(const std::string& pattern, index_t step);
/// What is wrong with such a pattern, or empty.
std::string step_pattern_problem(const std::string& pattern);

/// Consecutive steps.
struct TracedSteps {
    index_t first = 0;
    index_t last = 0;

    bool contain(index_t step) const { return step >= first && step <= last; }
};
/// "steps 10-12", "10-12" or "10"; no step for "none", nothing, and what traced_steps_problem names.
TracedSteps parse_traced_steps(const std::string& text);
/// What is wrong with such a text, or empty.
std::string traced_steps_problem(const std::string& text);

}  // namespace sy::runtime
