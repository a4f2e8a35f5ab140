// What may change between a checkpoint and its use: settings, the text, and what is said of it.
#include <catch2/catch.hpp>

#include <algorithm>
#include <set>

#include "runtime/config/differences.hpp"
#include "runtime/config/option.hpp"
#include "runtime/train/data_record.hpp"
#include "runtime/train/resume.hpp"
#include "tests/unit/runtime/run_fixture.hpp"

using namespace sy;
using namespace sy::runtime;
using Catch::Contains;
using test::small_config;
using test::TestFolder;
using test::train_on;

namespace {

/// A value that the option takes and does not have; empty when there is none.
std::string other_value(const Option& option) {
    for (const char* const value : {"yes", "no", "2", "3", "0.5", "every:2", "?"}) {
        if (value != option.get() && option.set(value).empty()) return value;
    }
    const std::string words = option.range + "|";
    for (std::size_t begin = 0; begin < words.size(); begin = words.find('|', begin) + 1) {
        const std::string word = words.substr(begin, words.find('|', begin) - begin);
        if (word != option.get() && option.set(word).empty()) return word;
    }
    return {};
}

Manifest manifest_of(const Config& config) {
    return read_manifest(find_checkpoint(config.run.directory, "latest"));
}

/// Notes of a run that resumes with `config`, which the run writes down.
std::vector<std::string> notes_of(const Manifest& manifest, const Config& config,
                                  const std::optional<DataRecord>& data = {}) {
    return resume_training(manifest, config, data).notes;
}

std::vector<std::string> problems_of(const Manifest& manifest, const Config& config,
                                     const std::optional<DataRecord>& data = {}) {
    try {
        resume_training(manifest, config, data);
    } catch (const ConfigError& error) {
        return error.problems();
    }
    return {};
}

/// What all ranks find in the text.
std::vector<DataRecord> records_on(int ranks, const Config& config) {
    std::vector<DataRecord> records(static_cast<std::size_t>(ranks));
    comm::LocalFabric(ranks).run([&](comm::Communicator& world) {
        const Corpus corpus(config);
        records[static_cast<std::size_t>(world.rank())] =
            record_data(config, corpus, world, [] { return false; }).value();
    });
    return records;
}

}  // namespace

TEST_CASE("resume: every setting of model, attention, position and moe is refused but those that may change",
          "[unit]") {
    const std::set<std::string> may_change{"model.recompute",
                                           "model.init_std",
                                           "model.dtype",
                                           "model.seq_len",
                                           "model.dropout",
                                           "model.output_z_loss",
                                           "model.mtp_loss",
                                           "attention.dropout",
                                           "position.rope_scaling",
                                           "position.rope_factor",
                                           "position.rope_original_len",
                                           "moe.allow_noncausal",
                                           "moe.router_dtype",
                                           "moe.wire",
                                           "moe.capacity_factor",
                                           "moe.eval_capacity_factor",
                                           "moe.min_capacity",
                                           "moe.capacity_scope",
                                           "moe.drop_by",
                                           "moe.device_capacity",
                                           "moe.protected_fraction",
                                           "moe.jitter",
                                           "moe.noise",
                                           "moe.noise_std",
                                           "moe.random_second",
                                           "moe.expert_dropout"};
    Config defaults;
    std::size_t refused = 0;
    for (const Option& named : options_of(defaults)) {
        INFO(named.name);
        Config changed;
        std::vector<Option> options = options_of(changed);
        const Option& option = *std::ranges::find(options, named.name, &Option::name);
        const std::string value = other_value(option);
        const std::set<std::string> of_the_model{"model", "attention", "position", "moe"};
        REQUIRE_FALSE(value.empty());
        const std::vector<std::string> problems = compare_settings({Config{}, {}}, changed).problems;
        if (of_the_model.contains(named.section()) && !may_change.contains(named.name)) {
            ++refused;
            CHECK(problems == std::vector<std::string>{
                                  concat(named.name, " = ", value, ", but the checkpoint is of a model with ",
                                         named.initial, "; set ", named.name, " = ", named.initial)});
        } else {
            CHECK(problems.empty());
        }
    }
    CHECK(refused > 40);
}

TEST_CASE("resume: a setting that is left out is its default, on either side, and unknown ones are another's",
          "[unit]") {
    Config config;
    CHECK(compare_settings(saved_settings(""), config).problems.empty());
    CHECK(compare_settings(saved_settings("[model]\nheads = 4\nfuture = 3\n"), config).problems.empty());
    CHECK(compare_settings(saved_settings(dump(config)), config).training_notes.empty());
    config.model.heads = 2;
    config.moe.top_k = 3;
    CHECK(compare_settings(saved_settings(""), config).problems.size() == 2);
}

TEST_CASE("resume: a value that this program refuses is no default where it decides what weights mean",
          "[unit]") {
    const SavedSettings saved =
        saved_settings("[model]\nheads = 0\n[moe]\nrouter = oracle\n[run]\nlog_every = never\n");
    CHECK(compare_settings(saved, Config{}).problems ==
          std::vector<std::string>{
              "the checkpoint sets model.heads = 0, which this program refuses; another version "
              "has written it, or it was altered",
              "the checkpoint sets moe.router = oracle, which this program refuses; another "
              "version has written it, or it was altered"});
}

TEST_CASE("resume: what validation depends on is told whatever the checkpoint is used for", "[unit]") {
    Config other;
    other.train.global_batch *= 2;
    other.train.accumulation *= 2;
    other.train.eval_batches += 1;
    CHECK(compare_settings({Config{}, {}}, other).notes.size() == 3);
}

TEST_CASE(
    "resume: settings of a checkpoint that are long beyond measure are read in time that grows with them",
    "[unit]") {
    // Someone else may have written them: compared line by line, these took hours.
    std::string text = "[model]\nnorm = " + std::string(std::size_t{1} << 23, 'n') + "\n";
    for (int i = 0; i < 400'000; ++i) text += concat("key_", i, " = 1\n");
    const SavedSettings saved = saved_settings(text + "[moe]\nexperts = 6\n");
    CHECK(saved.config.moe.experts == 6);
    CHECK(saved.problems ==
          std::vector<std::string>{
              "the checkpoint sets model.norm to a value of 8388608 bytes, which this program "
              "refuses; another version has written it, or it was altered"});
}

TEST_CASE("resume: all that differs is refused at once, for training, evaluation and generation", "[unit]") {
    const TestFolder folder;
    const Config config = small_config(folder);
    train_on(1, config, "");
    Config other = config;
    other.model.heads = 4;
    other.model.norm_eps = 0.5;
    other.moe.top_k = 1;
    other.train.seed = 2;
    const Manifest manifest = manifest_of(config);
    const std::vector<std::string> problems = problems_of(manifest, other);
    REQUIRE(problems.size() == 4);
    CHECK(problems[0] == "model.heads = 4, but the checkpoint is of a model with 2; set model.heads = 2");
    CHECK(problems[1] ==
          "model.norm_eps = 0.5, but the checkpoint is of a model with 1e-05; set model.norm_eps = 1e-05");
    CHECK(problems[2] == "moe.top_k = 1, but the checkpoint is of a model with 2; set moe.top_k = 2");
    CHECK_THAT(problems[3], Contains("of a run with seed 1"));
    CHECK_THROWS_WITH(check_settings(manifest, other),
                      Contains("model.heads = 4") && Contains("moe.top_k = 1"));
    other = config;
    other.moe.capacity_factor = 0.0;
    other.moe.jitter = 0.0;
    other.train.steps = 1000;
    CHECK(
        check_settings(manifest, other) ==
        std::vector<std::string>{"moe.capacity_factor = 0, 1 in the checkpoint: other choices are dropped"});
    CHECK(check_settings(manifest, config).empty());
}

TEST_CASE("resume: more steps make the learning rate jump, and the note says from what to what", "[unit]") {
    const TestFolder folder;
    Config config = small_config(folder);
    train_on(1, config, "");
    const Manifest manifest = manifest_of(config);
    config.train.steps = 9;
    // At step 8 of 8 the cosine has reached a tenth of 1e-3; of 9 steps, 2 are warm-up and step 9 is the last.
    CHECK(notes_of(manifest, config) ==
          std::vector<std::string>{
              "train.steps = 9, 8 in the checkpoint: the learning rate's cosine ends there"});
    config.train.steps = 1000000;
    const std::vector<std::string> notes = notes_of(manifest, config);
    REQUIRE(notes.size() == 2);
    CHECK(notes[1] ==
          "the learning rate goes from 0.0001 at step 8 to 0.001 at step 9 (0.0001 with the checkpoint's "
          "settings)");
}

TEST_CASE("resume: a checkpoint at or past train.steps says so, and nothing is overwritten", "[unit]") {
    const TestFolder folder;
    Config config = small_config(folder);
    train_on(1, config, "");
    const std::string manifest = test::read_text(folder / "run/checkpoints/latest/manifest.json");
    for (const index_t steps : {8, 5}) {
        config.train.steps = steps;
        CHECK_NOTHROW(train_on(1, config, "latest"));
        CHECK_THAT(test::read_text(folder / "run/metrics.jsonl"),
                   Contains(concat("the checkpoint is of step 8 and train.steps = ", steps,
                                   ": nothing is left to do; raise train.steps to go on")));
        CHECK(test::read_text(folder / "run/checkpoints/latest/manifest.json") == manifest);
    }
    CHECK(std::filesystem::is_directory(folder / "run/checkpoints/step-00000008"));
}

TEST_CASE("resume: another text is refused, unless it is accepted, and a moved one is noted", "[unit]") {
    const TestFolder folder;
    Config config = small_config(folder);
    train_on(2, config, "");
    const std::string first = config.data.path;
    const std::string text = test::read_text(first);
    config.train.steps = 9;
    const auto refusal = [&]() -> std::string {
        try {
            train_on(1, config, "latest");
        } catch (const ConfigError& error) {
            return error.what();
        }
        return "nothing thrown";
    };
    std::string altered = text;
    altered[altered.size() / 2] ^= 1;
    config.data.path = folder.file("altered.txt", altered);
    CHECK_THAT(refusal(), Contains("is not the text that the checkpoint was trained on (checksum ") &&
                              Contains("set data.changed = accept") && Contains(first) &&
                              Contains("48 samples consumed"));
    config.data.path = folder.file("longer.txt", text + "more\n");
    CHECK_THAT(refusal(),
               Contains(concat("(bytes ", text.size() + 5, " and ", text.size(), " in the checkpoint, ")));
    config.data.path = first;
    config.data.validation_fraction = 0.1;
    CHECK_THAT(refusal(), Contains("(data.validation_fraction 0.1 and 0.05 in the checkpoint)"));
    config.data.validation_fraction = 0.05;
    config.model.seq_len = 12;
    CHECK_THAT(refusal(), Contains("(tokens of a window 13 and 17 in the checkpoint)"));
    config.model.seq_len = 16;
    // The same text in two files, elsewhere.
    config.data.path =
        folder.file("a.txt", text.substr(0, 1000)) + "," + folder.file("b.txt", text.substr(1000));
    CHECK_NOTHROW(train_on(1, config, "latest"));
    CHECK_THAT(test::read_text(folder / "run/metrics.jsonl"), Contains("in the checkpoint: the same text"));
    CHECK(manifest_of(config).state.data->file_bytes.size() == 2);
    config.data.path = folder.file("altered.txt", altered);
    config.data.changed = ChangedData::accept;
    config.train.steps = 10;
    CHECK_NOTHROW(train_on(1, config, "latest"));
    CHECK_THAT(test::read_text(folder / "run/metrics.jsonl"),
               Contains("54 samples consumed count windows of a text that was not read"));
    CHECK(manifest_of(config).step == 10);
}

TEST_CASE("resume: a checkpoint that does not say what it was trained on is resumed, with a note", "[unit]") {
    const TestFolder folder;
    Config config = small_config(folder);
    train_on(1, config, "");
    Manifest manifest = manifest_of(config);
    REQUIRE(manifest.state.data);
    CHECK(parse_manifest(write_manifest(manifest), "test").state == manifest.state);
    manifest.state.data.reset();
    const Manifest old = parse_manifest(write_manifest(manifest), "test");
    CHECK_FALSE(old.state.data);
    config.train.steps = 9;
    const DataRecord now = records_on(1, config).front();
    CHECK_THAT(notes_of(old, config, now).at(1), Contains("does not say which text it was trained on"));
    CHECK(resume_training(old, config, now).state.data == now);
}

TEST_CASE("resume: the record of a text is the same on every number of ranks and however files cut it",
          "[unit]") {
    const TestFolder folder;
    Config config = small_config(folder);
    // Three blocks of 4 MiB, the last one short.
    std::string text(9'000'001, 'x');
    for (std::size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>(i * i / 7 % 251);
    config.data.path = folder.file("text", text);
    const DataRecord alone = records_on(1, config).front();
    CHECK(alone.num_bytes() == 9'000'001);
    CHECK(alone.window == 17);
    for (const int ranks : {2, 3, 5})
        CHECK(records_on(ranks, config) == std::vector<DataRecord>(static_cast<std::size_t>(ranks), alone));
    config.data.path =
        folder.file("a", text.substr(0, 4194305)) + "," + folder.file("b", text.substr(4194305));
    CHECK(records_on(2, config).front().checksum == alone.checksum);
    for (const std::size_t place : {std::size_t{0}, std::size_t{4194304}, text.size() - 1}) {
        std::string altered = text;
        altered[place] ^= 1;
        config.data.path = folder.file("altered", altered);
        CHECK(records_on(2, config).front().checksum != alone.checksum);
    }
    // Blocks that change places are another text.
    config.data.path = folder.file(
        "swapped", text.substr(4194304, 4194304) + text.substr(0, 4194304) + text.substr(8388608));
    CHECK(records_on(2, config).front().checksum != alone.checksum);
}

TEST_CASE("resume: reading a long text is given up by all ranks when one is asked to stop", "[unit]") {
    const TestFolder folder;
    Config config = small_config(folder);
    config.data.path = folder.file("long", "");
    std::filesystem::resize_file(config.data.path, std::uintmax_t{140} << 20);
    const Corpus corpus(config);
    for (const int asked : {-1, 1}) {
        comm::LocalFabric(2).run([&](comm::Communicator& world) {
            const bool given_up =
                !record_data(config, corpus, world, [&] { return world.rank() == asked; }).has_value();
            SY_REQUIRE(given_up == (asked == 1), "rank ", world.rank());
        });
    }
}
