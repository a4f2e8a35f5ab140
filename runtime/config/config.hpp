#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/core/context.hpp"
#include "model/config.hpp"
#include "runtime/checkpoint/config.hpp"
#include "runtime/train/optimizer.hpp"

namespace sy::runtime {

struct TrainConfig {
    index_t steps = 200;
    index_t global_batch = 16;  ///< sequences of an optimizer step, whatever the number of ranks
    index_t accumulation = 1;
    std::uint64_t seed = 1;
    index_t eval_every = 50;
    index_t eval_batches = 4;
    index_t max_skipped = 10;
    std::string freeze;  ///< patterns of parameter names, joined by commas
};

/// Whether a run may go on from a checkpoint in another text than it was trained on.
enum class ChangedData { refuse, accept };

struct DataConfig {
    std::string path;  ///< one file, or several joined by commas
    std::string tokenizer = "bytes";
    double validation_fraction = 0.05;
    ChangedData changed = ChangedData::refuse;
};

/// Where experts are: in equal runs for the whole run, or where measured load puts them.
enum class PlacementRule { block, balanced };

struct ParallelConfig {
    index_t ranks = 0;  ///< what the run must be started with; 0: any number
    index_t expert_parallel = 0;
    index_t threads = 0;
    index_t deadline_seconds = 120;
    PlacementRule placement = PlacementRule::block;
    index_t rebalance_every = 0;  ///< steps; 0: never
    index_t spare_experts = 0;    ///< copies a rank may hold beyond its even share
};

struct RunConfig {
    std::string directory = "run";
    index_t checkpoint_every = 100;
    index_t keep_last = 2;
    index_t stop_after = 0;  ///< leave cleanly after this step, as a signal would make it; 0: never
    index_t log_every = 10;
    bool drop_ledger = false;
    bool lock = true;  ///< keep other runs out of the directory
};

struct GenerateConfig {
    std::string prompt = "In the beginning ";
    std::string gap = "_";
    index_t tokens = 200;
    double temperature = 0.8;
    index_t top_k = 0;
    double top_p = 0.95;
    std::uint64_t seed = 1;
};

struct Config {
    model::ModelConfig model;
    model::MoeConfig moe;
    TrainConfig train;
    OptimizerConfig optimizer;
    DataConfig data;
    ParallelConfig parallel;
    RunConfig run;
    CheckpointConfig checkpoint;
    GenerateConfig generate;
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
