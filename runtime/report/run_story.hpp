#pragma once

#include <array>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "runtime/report/load_history.hpp"

namespace sy::runtime {

/// One step as a page draws it; NaN where the records have nothing, or a number that was not finite.
struct TrainingStep {
    double step = 0.0;
    double tokens = 0.0;  ///< of all steps up to this one
    double token_loss = 0.0;
    double gradient_norm = 0.0;
    double learning_rate = 0.0;
    double imbalance = 0.0;  ///< highest load of an expert over the mean, worst layer
    double entropy = 0.0;    ///< load_entropy, worst layer
    double dropped = 0.0;    ///< per cent of the choices
    double tokens_per_s = 0.0;
    double seconds = 0.0;
    double waiting = 0.0;  ///< per cent of the step that rank 0 waited for messages
    double network_bytes = 0.0;
    double network_bound = 0.0;  ///< fewest bytes that could cross the network
    double memory_bytes = 0.0;
    std::array<double, 4> phases{};    ///< seconds, as kPhaseNames
    std::array<double, 4> exchange{};  ///< seconds, as kExchangeNames
    bool has_targets = true;
};

inline constexpr std::array kPhaseNames{"data", "compute", "communication", "optimizer"};
/// What exchanges took, mean of all ranks: waited for in each of their phases, or hidden behind computing.
inline constexpr std::array kExchangeNames{"waiting for plans", "waiting for dispatch", "waiting for return",
                                           "hidden behind computing"};

struct ValidationLoss {
    double step = 0.0;
    double tokens = 0.0;
    double loss = 0.0;  ///< nats a token
};

enum class EventKind { restart, stop, checkpoint, skipped, placement, aside, job };
inline constexpr std::array kEventName{"restart",       "early stop",      "checkpoint", "skipped step",
                                       "experts moved", "steps set aside", "job"};
inline constexpr std::array kEventNames{"restarts",      "early stops",     "checkpoints", "skipped steps",
                                        "experts moved", "steps set aside", "jobs"};

struct RunEvent {
    EventKind kind;
    double step;
    std::string text;  ///< empty: nothing to add
};

/// A start of the program in the run.
struct Launch {
    index_t first_step = 1;
    std::string version, layout, host, threads, isa;
    std::vector<std::string> notes;
};

/// What a run's folder tells.
struct RunStory {
    std::string name;
    std::vector<TrainingStep> steps;  ///< in order
    std::vector<ValidationLoss> validations;
    LoadHistory loads;
    std::vector<RunEvent> events;  ///< in order of steps
    std::vector<Launch> launches;
    std::vector<std::pair<std::string, std::string>> settings;  ///< of the last launch: "section.key", value
};

/// Reads metrics.jsonl, jobs.jsonl where a chain of jobs has left one, and what was set aside in aside-1, aside-2, ...
/// @throws IoError when the folder has no metrics.jsonl, or no line of it is a record
RunStory read_story(const std::filesystem::path& folder, std::string name);

}  // namespace sy::runtime
