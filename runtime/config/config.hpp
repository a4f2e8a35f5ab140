#pragma once

#include <chrono>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "kernels/core/context.hpp"
#include "model/config.hpp"
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
};

struct DataConfig {
    std::string path;
    double validation_fraction = 0.05;
};

struct ParallelConfig {
    index_t expert_parallel = 0;
    index_t threads = 0;
    index_t deadline_seconds = 120;
};

struct RunConfig {
    std::string directory = "run";
    index_t checkpoint_every = 100;
    index_t keep_last = 2;
    index_t stop_after = 0;  ///< leave cleanly after this step, as a signal would make it; 0: never
    index_t log_every = 10;
};

struct GenerateConfig {
    std::string prompt = "In the beginning ";
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
    GenerateConfig generate;
    NumericsMode numerics = NumericsMode::fast;
};

/// One option: file, command line, environment, help and dump all derive from the table of these.
struct Option {
    std::string name;  ///< "section.key"
    std::string kind;  ///< "whole number", "number", "yes or no", "text", or the choices
    std::string help;
    /// Sets the value from text. @return the problem, or empty
    std::function<std::string(const std::string&)> set;
    std::function<std::string()> get;
};

/// The table over the fields of `config`, which must outlive it.
std::vector<Option> options_of(Config& config);

/// Where settings come from, later ones winning: file, environment (SWITCHYARD_SECTION_KEY), assignments.
struct ConfigSources {
    std::string file;                      ///< empty: none
    std::vector<std::string> assignments;  ///< "section.key=value"
};

/// @throws ConfigError with every problem of every source, each with its place and a remedy; IoError for the file
Config load_config(const ConfigSources& sources);

/// Reads settings from text in the form of a config file, as `dump` writes it.
Config parse_config(const std::string& text, const std::string& name);

/// All options as a config file that reads back to the same values.
std::string dump(const Config& config);

/// The option table for people.
std::string config_help();

}  // namespace sy::runtime
