#include "runtime/train/resume.hpp"

#include "runtime/config/config_file.hpp"
#include "runtime/config/differences.hpp"
#include "runtime/tokenizer/tokenizer.hpp"
#include "runtime/train/optimizer.hpp"

namespace sy::runtime {
namespace {

using Sentences = std::vector<std::string>;

void append(Sentences& all, const Sentences& more) {
    all.insert(all.end(), more.begin(), more.end());
}

/// What differs between two texts, or how they are cut into samples.
std::string text_differences(const DataRecord& before, const DataRecord& now) {
    std::string text;
    const auto add = [&](const char* what, const auto& there, const auto& here) {
        if (there != here)
            text += concat(text.empty() ? "" : ", ", what, " ", here, " and ", there, " in the checkpoint");
    };
    add("bytes", before.num_bytes(), now.num_bytes());
    add("checksum", hex(before.checksum), hex(now.checksum));
    add("tokenizer", before.tokenizer, now.tokenizer);
    add("tokens of a window", before.window, now.window);
    add("data.validation_fraction", before.validation_fraction, now.validation_fraction);
    // Bytes are the same however a text is cut into files; other tokens are not, for files are tokenized one by one.
    if (now.tokenizer != "bytes" && before.num_bytes() == now.num_bytes() &&
        before.file_bytes != now.file_bytes)
        text += concat(text.empty() ? "" : ", ", "other bytes in each file");
    add("weights", before.weights_text(), now.weights_text());
    return text;
}

/// Whether the run goes on in the text that its samples were counted in.
void compare_data(const TrainingState& state, const Config& config, const DataRecord& now,
                  Sentences& problems, Sentences& notes) {
    if (state.samples_consumed == 0) return;
    if (!state.data) {
        notes.emplace_back(
            "the checkpoint does not say which text it was trained on; this one is taken for it");
        return;
    }
    const std::string before = quote_if_needed(state.data->paths);
    const std::string differences = text_differences(*state.data, now);
    const std::string path = concat("data.path = ", quote_if_needed(now.paths));
    if (differences.empty()) {
        if (state.data->paths != now.paths)
            notes.push_back(concat(path, ", ", before, " in the checkpoint: the same text"));
        return;
    }
    const std::string other =
        concat(path, " is not the text that the checkpoint was trained on (", differences, ")");
    const std::string effect = concat(
        "the ", state.samples_consumed, " samples consumed count windows of a text that was not read",
        state.data->tokenizer == now.tokenizer ? ""
                                               : ", and the model has learned other meanings of token ids");
    if (config.data.changed == ChangedData::accept) {
        notes.push_back(concat(other, ": ", effect));
    } else {
        problems.push_back(concat(other, "; give it as it was, ", before,
                                  ", or set data.changed = accept, after which ", effect));
    }
}

/// Where the learning rate jumps because of settings; empty where it does not.
std::string learning_rate_note(const Config& before, const Config& now, index_t step) {
    const double last = learning_rate(before.optimizer, step, before.train.steps);
    const double expected = learning_rate(before.optimizer, step + 1, before.train.steps);
    const double next = learning_rate(now.optimizer, step + 1, now.train.steps);
    if (step == 0 || next == expected) return {};
    return concat("the learning rate goes from ", last, " at step ", step, " to ", next, " at step ",
                  step + 1, " (", expected, " with the checkpoint's settings)");
}

/// Whether the ids mean what they meant in training; nothing is known of checkpoints without a text.
void check_tokenizer(const Manifest& manifest, const Config& config, Sentences& notes) {
    if (!manifest.state.data) return;
    const std::string& before = manifest.state.data->tokenizer;
    const std::string now = make_tokenizer(config.data.tokenizer)->identity();
    if (now == before) return;
    const std::string other = concat("data.tokenizer = ", quote_if_needed(config.data.tokenizer), " is '",
                                     now, "', and the checkpoint was trained with '", before, "'");
    if (config.data.changed == ChangedData::refuse)
        throw ConfigError(concat(other,
                                 ", to which the same ids are other texts; give that one, or set "
                                 "data.changed = accept"));
    notes.push_back(concat(other, ": the same ids are other texts to it"));
}

}  // namespace

TrainingState first_state(const Config& config, std::optional<DataRecord> data) {
    TrainingState state;
    state.seed = config.train.seed;
    state.data = std::move(data);
    return state;
}

Resumption resume_training(const Manifest& manifest, const Config& config,
                           const std::optional<DataRecord>& data) {
    Resumption resumption{manifest.state, {}};
    const SavedSettings saved = saved_settings(manifest.config);
    SettingDifferences differences = compare_settings(saved, config);
    Sentences problems = std::move(differences.problems);
    Sentences& notes = resumption.notes;
    append(notes, differences.notes);
    append(notes, differences.training_notes);
    if (manifest.state.seed != config.train.seed) {
        problems.push_back(
            concat("train.seed = ", config.train.seed, ", but the checkpoint of step ", manifest.step,
                   " is of a run with seed ", manifest.state.seed,
                   ", which decides order of data and noise; set train.seed = ", manifest.state.seed));
    }
    if (manifest.state.random != TrainingState::kRandom) {
        problems.push_back(concat("checkpoint: its random numbers are from ", manifest.state.random,
                                  ", this program has ", TrainingState::kRandom));
    }
    if (data) compare_data(manifest.state, config, *data, problems, notes);
    if (!problems.empty()) throw ConfigError(problems);
    if (manifest.step >= config.train.steps) {
        notes.push_back(concat("the checkpoint is of step ", manifest.step, " and train.steps = ",
                               config.train.steps, ": nothing is left to do; raise train.steps to go on"));
    } else if (const std::string note = learning_rate_note(saved.config, config, manifest.step);
               !note.empty()) {
        notes.push_back(note);
    }
    resumption.state.data = data;
    return resumption;
}

Sentences check_settings(const Manifest& manifest, const Config& config) {
    SettingDifferences differences = compare_settings(saved_settings(manifest.config), config);
    if (!differences.problems.empty()) throw ConfigError(differences.problems);
    Sentences notes = std::move(differences.notes);
    check_tokenizer(manifest, config, notes);
    return notes;
}

}  // namespace sy::runtime
