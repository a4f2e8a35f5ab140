#include "runtime/train/resume.hpp"

namespace sy::runtime {

TrainingState first_state(const Config& config) {
    TrainingState state;
    state.seed = config.train.seed;
    return state;
}

TrainingState resumed_state(const Manifest& manifest, const Config& config) {
    const TrainingState& state = manifest.state;
    std::vector<std::string> problems;
    if (state.seed != config.train.seed) {
        problems.push_back(concat("train.seed = ", config.train.seed, ", but the checkpoint of step ",
                                  manifest.step, " is of a run with seed ", state.seed,
                                  ", which decides order of data and noise; set train.seed = ", state.seed));
    }
    if (state.random != TrainingState::kRandom) {
        problems.push_back(concat("checkpoint: its random numbers are from ", state.random,
                                  ", this program has ", TrainingState::kRandom));
    }
    if (!problems.empty()) throw ConfigError(problems);
    return state;
}

}  // namespace sy::runtime
