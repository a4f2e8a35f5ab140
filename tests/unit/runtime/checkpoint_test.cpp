// Runs that stop and resume: from either layout, on other ranks, and with everything that a checkpoint says about itself.
#include <catch2/catch.hpp>

#include <cmath>

#include "runtime/train/resume.hpp"
#include "tests/unit/runtime/run_fixture.hpp"

using namespace sy;
using namespace sy::runtime;
using namespace sy::test;
namespace fs = std::filesystem;

namespace {

Manifest manifest_of(const Config& config) {
    return read_manifest(fs::path(config.run.directory) / "checkpoints/latest");
}

}  // namespace

TEST_CASE("resume: a run that resumes from a checkpoint on other ranks ends with the same bits", "[unit]") {
    const TestFolder folder;
    Config config = small_config(folder);
    const double uninterrupted = train_on(1, config, "");
    config.checkpoint.layout = GENERATE(CheckpointLayout::sharded, CheckpointLayout::single);
    for (const auto& [before, after] : {std::pair{3, 2}, {2, 4}, {1, 3}}) {
        const TestFolder other;
        config.run.directory = (other / "run").string();
        config.run.stop_after = 4;
        train_on(before, config, "");
        CHECK(manifest_of(config).layout == config.checkpoint.layout);
        config.run.stop_after = 0;
        INFO(layout_name(config.checkpoint.layout) << " on " << before << " ranks, then " << after);
        CHECK(train_on(after, config, "latest") == uninterrupted);
        CHECK(verify_checkpoint(other / "run/checkpoints/latest").empty());
    }
}

TEST_CASE("resume: in fast mode losses agree to 1e-5", "[unit]") {
    const TestFolder folder;
    Config config = small_config(folder, NumericsMode::fast);
    const double uninterrupted = train_on(2, config, "");
    config.run.directory = (folder / "other").string();
    config.run.stop_after = 4;
    train_on(2, config, "");
    config.run.stop_after = 0;
    CHECK(train_on(3, config, "latest") == Approx(uninterrupted).epsilon(1e-5));
}

TEST_CASE("checkpoint: tensor checksums do not depend on ranks, layout or thread that wrote them", "[unit]") {
    std::map<MatrixId, std::uint64_t> first;
    for (const CheckpointLayout layout : {CheckpointLayout::sharded, CheckpointLayout::single}) {
        for (const int ranks : {1, 3, 4}) {
            const TestFolder folder;
            Config config = small_config(folder);
            config.checkpoint.layout = layout;
            train_on(ranks, config, "");
            const std::map<MatrixId, std::uint64_t> sums = manifest_of(config).matrix_checksums();
            if (first.empty()) first = sums;
            INFO(layout_name(layout) << " on " << ranks << " ranks");
            CHECK(sums == first);
        }
    }
    CHECK(first.at({Kind::m, "layers.0.moe.experts.gate", 4}) != 0);
}

TEST_CASE("checkpoint: files written in the background are the ones written in the foreground", "[unit]") {
    std::vector<FileRecord> files[2];
    for (const bool background : {false, true}) {
        const TestFolder folder;
        Config config = small_config(folder);
        config.checkpoint.background = background;
        config.run.checkpoint_every = 1;
        config.run.keep_last = 1000;
        train_on(3, config, "");
        for (index_t step = 1; step <= config.train.steps; ++step) {
            const fs::path place = folder / concat("run/checkpoints/step-0000000", step);
            const std::vector<FileRecord> found = read_manifest(place).files;
            CHECK(verify_checkpoint(place).empty());
            files[background ? 1 : 0].insert(files[background ? 1 : 0].end(), found.begin(), found.end());
        }
    }
    CHECK(files[0].size() == 8 * 4);
    CHECK(files[0] == files[1]);
}

TEST_CASE("checkpoint: the state of a run is in the manifest and continues", "[unit]") {
    const TestFolder folder;
    Config config = small_config(folder);
    config.run.stop_after = 4;
    train_on(2, config, "");
    const TrainingState state = manifest_of(config).state;
    CHECK(state.seed == config.train.seed);
    CHECK(state.samples_consumed == 4 * config.train.global_batch);
    CHECK(state.random == TrainingState::kRandom);
    CHECK(state.skipped_steps == 0);
    config.run.stop_after = 0;
    train_on(1, config, "latest");
    CHECK(manifest_of(config).state.samples_consumed == config.train.steps * config.train.global_batch);
}

TEST_CASE("checkpoint: data continues behind the last sample, also with another batch", "[unit]") {
    const TestFolder folder;
    Config config = small_config(folder);
    config.run.stop_after = 4;
    train_on(2, config, "");
    config.run.stop_after = 0;
    const fs::path stopped = folder / "run/checkpoints/step-00000004";
    config.train.global_batch = 2;
    const double loss = train_on(1, config, stopped.string());
    CHECK(manifest_of(config).state.samples_consumed == 4 * 6 + 4 * 2);

    // The cursor, not the step, says which samples come next.
    Manifest manifest = read_manifest(stopped);
    manifest.state.samples_consumed += 2;
    std::ofstream(stopped / "manifest.json") << write_manifest(manifest);
    fs::remove_all(folder / "run/checkpoints/step-00000008");
    CHECK(train_on(1, config, stopped.string()) != loss);
    CHECK(manifest_of(config).state.samples_consumed == 4 * 6 + 2 + 4 * 2);
}

TEST_CASE("checkpoint: one written in the background is published as soon as it is there", "[unit]") {
    const TestFolder folder;
    Config config = small_config(folder);
    config.train.steps = 1000;
    config.run.checkpoint_every = 400;
    train_on(1, config, "");
    const std::string metrics = read_text(folder / "run/metrics.jsonl");
    const auto published = metrics.find("\"type\":\"checkpoint\",\"step\":400,");
    REQUIRE(published != std::string::npos);
    CHECK(published > metrics.find("\"type\":\"step\",\"step\":400,"));
    CHECK(published < metrics.find("\"type\":\"step\",\"step\":800,"));
}

TEST_CASE("checkpoint: skipped steps are counted, and in a row", "[unit]") {
    TrainingState state;
    for (const bool applied : {true, false, true, false, false}) state.count_step(3, applied);
    CHECK(state.samples_consumed == 15);
    CHECK(state.skipped_steps == 3);
    CHECK(state.skipped_in_a_row == 2);
    state.count_step(3, true);
    CHECK(state.skipped_in_a_row == 0);
}

TEST_CASE("checkpoint: any state reads back to the same bits", "[unit]") {
    Manifest manifest;
    manifest.step = 7;
    manifest.state = {0xffff'ffff'ffff'fff1U, TrainingState::kRandom, index_t{1} << 50, 3, 2, {}, {}};
    manifest.state.router["layers.1.moe.router.bias"] = {0.1, -1e-300, 1.0 / 3.0, -0.0};
    manifest.state.data = DataRecord{
        "a.txt,b c.txt", {7, index_t{1} << 40}, 0xffff'ffff'ffff'fff1U, "bytes", 33, 0.1 + 0.2, {7, 3}};
    const Manifest read = parse_manifest(write_manifest(manifest), "test");
    CHECK(read.state == manifest.state);
    CHECK(std::signbit(read.state.router.at("layers.1.moe.router.bias")[3]));
}

TEST_CASE("checkpoint: a run of another seed, or with unknown router state, does not resume", "[unit]") {
    const TestFolder folder;
    Config config = small_config(folder);
    train_on(2, config, "");
    Config other = config;
    other.train.seed = 2;
    other.train.steps = 9;
    CHECK_THROWS_WITH(
        train_on(2, other, "latest"),
        Catch::Contains("train.seed = 2, but the checkpoint of step 8 is of a run with seed 1"));
    other.train.seed = 1;
    Manifest manifest = manifest_of(config);
    manifest.state.router["layers.1.moe.router.bias"] = {1.0};
    std::ofstream(folder / "run/checkpoints/latest/manifest.json") << write_manifest(manifest);
    CHECK_THROWS_WITH(train_on(2, other, "latest"), Catch::Contains("router state layers.1.moe.router.bias"));
    manifest.state.router.clear();
    manifest.state.random = "dice";
    CHECK_THROWS_WITH(resume_training(manifest, other, {}), Catch::Contains("random numbers are from dice"));
}

TEST_CASE("checkpoint: only the last ones are kept, and leftovers of a killed run are removed", "[unit]") {
    const TestFolder folder;
    Config config = small_config(folder);
    config.run.checkpoint_every = 2;
    config.run.keep_last = 2;
    fs::create_directories(folder / "run/checkpoints/.unfinished-step-00000001");
    train_on(2, config, "");
    CHECK(fs::exists(folder / "run/checkpoints/step-00000008"));
    CHECK(fs::exists(folder / "run/checkpoints/step-00000006"));
    CHECK_FALSE(fs::exists(folder / "run/checkpoints/step-00000004"));
    CHECK_FALSE(fs::exists(folder / "run/checkpoints/.unfinished-step-00000001"));
    CHECK(fs::read_symlink(folder / "run/checkpoints/latest") == "step-00000008");
}
