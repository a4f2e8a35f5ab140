#pragma once

#include "runtime/checkpoint/manifest.hpp"
#include "runtime/config/config.hpp"

namespace sy::runtime {

/// State of a run before its first step.
TrainingState first_state(const Config& config);

/// State of a run that goes on from a checkpoint.
/// @throws ConfigError with everything in it that these settings would not continue
TrainingState resumed_state(const Manifest& manifest, const Config& config);

}  // namespace sy::runtime
