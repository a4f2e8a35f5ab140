#pragma once

#include <string>
#include <vector>

#include "kernels/core/context.hpp"
#include "model/config.hpp"
#include "runtime/checkpoint/config.hpp"
#include "runtime/data/config.hpp"
#include "runtime/eval/config.hpp"
#include "runtime/generate/config.hpp"
#include "runtime/telemetry/config.hpp"
#include "runtime/train/config.hpp"

namespace sy::runtime {

/// Every setting of a run, each section as its owner describes it.
struct Config {
    model::ModelConfig model;
    model::MoeConfig moe;
    TrainConfig train;
    OptimizerConfig optimizer;
    DataConfig data;
    ParallelConfig parallel;
    RunConfig run;
    CheckpointConfig checkpoint;
    TelemetryConfig telemetry;
    GenerateConfig generate;
    EvalConfig eval;
    NumericsMode numerics = NumericsMode::fast;
};

/// Where settings come from, later ones winning: preset, file, environment (SWITCHYARD_SECTION_KEY), assignments.
struct ConfigSources {
    std::string file = {};                      ///< empty: none
    std::vector<std::string> assignments = {};  ///< "section.key=value"
    std::string preset = {};   ///< a name of model::presets(), for model and moe; empty: none
    bool scaled_down = false;  ///< the preset as model::scale_down makes it
};

/// @throws ConfigError with every problem of every source, each with its place, the value, what is expected and what
///         to try
Config load_config(const ConfigSources& sources);

/// Names the variables SWITCHYARD_... that are no settings, as modules export them, and what may have been meant; empty
/// when there are none.
std::string environment_note();

/// Reads settings from text in the form of a config file, as `dump` writes it. The environment is left out.
/// @param name  what the text is called in messages
Config parse_config(const std::string& text, const std::string& name);

/// All options as a config file that reads back to exactly the same values.
std::string dump(const Config& config);

/// All options as one JSON object of sections, for records.
std::string dump_json(const Config& config);

/// The option table for people. @param section  only this one; empty: all @throws ConfigError for an unknown one
std::string config_help(const std::string& section = {});

}  // namespace sy::runtime
