#pragma once

#include "runtime/checkpoint/manifest.hpp"
#include "runtime/config/config.hpp"

namespace sy::runtime {

/// State of a run before its first step. @param data  the text that it learns from
TrainingState first_state(const Config& config, std::optional<DataRecord> data = {});

/// How a run goes on from a checkpoint.
struct Resumption {
    TrainingState state;
    std::vector<std::string> notes;  ///< what is not as it was, a sentence each
};

/// @param data  the text that the run learns from now; nothing when it was not looked at
/// @throws ConfigError with everything in the checkpoint that these settings and this text would not continue
Resumption resume_training(const Manifest& manifest, const Config& config,
                           const std::optional<DataRecord>& data);

/// For what uses a checkpoint's model and trains no further. @return notes on settings that are not the checkpoint's
/// @throws ConfigError with every setting that makes another model of it, or for another tokenizer than it was trained
///         with, unless data.changed = accept
std::vector<std::string> check_settings(const Manifest& manifest, const Config& config);

}  // namespace sy::runtime
