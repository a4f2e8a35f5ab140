// One branch in a run's folder, and one view of a checkpoint on all ranks.
#include <catch2/catch.hpp>

#include <unistd.h>

#include <cerrno>

#include "comm/collectives.hpp"
#include "runtime/checkpoint/agree.hpp"
#include "runtime/checkpoint/folders.hpp"
#include "runtime/train/branch.hpp"
#include "runtime/train/run_lock.hpp"
#include "tests/unit/runtime/run_fixture.hpp"

using namespace sy;
using namespace sy::runtime;
using namespace sy::test;
namespace fs = std::filesystem;

namespace {

const std::string kFirstRun = R"({"type":"run","first_step":1})"
                              "\n"
                              R"({"type":"step","step":1})"
                              "\n"
                              R"({"type":"step","step":2})"
                              "\n";
/// Of the steps after 2. A checkpoint that is written in the background is told of later.
const std::string kLater = R"({"type":"step","step":3})"
                           "\n";
const std::string kCheckpoint = R"({"type":"checkpoint","step":2})"
                                "\n";
const std::string kLast = R"({"type":"step","step":4})"
                          "\n"
                          R"({"type":"st)"
                          "\n"
                          R"({"type":"run","first_step":4})"
                          "\n"
                          R"({"type":"end","step":2})"
                          "\n";

/// A folder as a run of four steps leaves it, without what is in the checkpoints.
struct RunFolder {
    TestFolder folder;
    fs::path run = folder.path();
    fs::path checkpoints = folder / "checkpoints";

    RunFolder() {
        for (const char* step : {"step-00000002", "step-00000003", "step-00000004", "step-best"})
            fs::create_directories(checkpoints / step);
        fs::create_symlink("step-00000004", checkpoints / "latest");
        folder.file("metrics.jsonl", kFirstRun + kLater + kCheckpoint + kLast);
        folder.file("drops.jsonl", "{\"step\":1}\n{\"step\":3}\n{\"step\":4}\n");
    }
    void expect_branch_of_step_2() const {
        CHECK(fs::read_symlink(checkpoints / "latest") == "step-00000002");
        CHECK(runtime::detail::published_steps(checkpoints) == std::vector<index_t>{2});
        CHECK(fs::exists(checkpoints / "step-best"));
        CHECK(read_text(run / "metrics.jsonl") == kFirstRun + kCheckpoint);
        CHECK(read_text(run / "drops.jsonl") == "{\"step\":1}\n");
        CHECK_FALSE(fs::exists(run / "metrics.jsonl.new"));
    }
};

}  // namespace

TEST_CASE("branch: what came later is set aside with its records, and once", "[unit]") {
    const RunFolder folder;
    const fs::path aside = folder.run / "aside-1";
    CHECK(begin_branch(folder.run, 2) ==
          concat("what came after step 2 in an earlier run of this folder is set aside in ", aside.string(),
                 ": checkpoints of steps 3 to 4, metrics.jsonl, drops.jsonl"));
    folder.expect_branch_of_step_2();
    CHECK(runtime::detail::published_steps(aside / "checkpoints") == std::vector<index_t>{3, 4});
    CHECK(read_text(aside / "metrics.jsonl") == kLater + kLast);
    CHECK(read_text(aside / "drops.jsonl") == "{\"step\":3}\n{\"step\":4}\n");
    CHECK(begin_branch(folder.run, 2).empty());
    CHECK_FALSE(fs::exists(folder.run / "aside-2"));
}

TEST_CASE("branch: a kill while a branch is set aside loses nothing, and the next run ends it", "[unit]") {
    const RunFolder folder;
    const int stage = GENERATE(0, 1, 2, 3, 4);
    INFO("killed at stage " << stage);
    const fs::path aside = folder.run / "aside-1";
    // What begin_branch does, in its order, up to the kill.
    if (stage >= 1) {
        fs::remove(folder.checkpoints / "latest");
        fs::create_symlink("step-00000002", folder.checkpoints / "latest");
    }
    if (stage >= 2) {
        fs::create_directories(aside / "checkpoints");
        fs::rename(folder.checkpoints / "step-00000003", aside / "checkpoints/step-00000003");
    }
    if (stage >= 3) {
        fs::rename(folder.checkpoints / "step-00000004", aside / "checkpoints/step-00000004");
        folder.folder.file("metrics.jsonl.new", "half of");
        folder.folder.file("aside-1/metrics.jsonl", kLater);
    }
    if (stage >= 4) {
        folder.folder.file("aside-1/metrics.jsonl", kLater + kLast);
        folder.folder.file("metrics.jsonl", kFirstRun + kCheckpoint);
        fs::remove(folder.run / "metrics.jsonl.new");
    }
    // Before the link has moved latest is still the last checkpoint, then the one gone back to.
    CHECK(runtime::detail::latest_checkpoint(folder.checkpoints).filename() ==
          (stage == 0 ? "step-00000004" : "step-00000002"));
    CHECK_FALSE(begin_branch(folder.run, 2).empty());
    folder.expect_branch_of_step_2();
    for (const char* step : {"step-00000003", "step-00000004"}) {
        CHECK(fs::exists(aside / "checkpoints" / step) !=
              fs::exists(folder.run / "aside-2/checkpoints" / step));
    }
}

TEST_CASE(
    "branch: a run from step 1 sets aside the records of one that was killed before its first checkpoint",
    "[unit]") {
    const TestFolder folder;
    CHECK_NOTHROW(check_new_run(folder / "none"));
    CHECK(begin_branch(folder / "none", 0).empty());
    CHECK_FALSE(fs::exists(folder / "none"));
    fs::create_directories(folder / "checkpoints/.unfinished-step-00000003");
    folder.file("metrics.jsonl", kFirstRun);
    check_new_run(folder.path());
    CHECK_THAT(begin_branch(folder.path(), 0), Catch::EndsWith("aside-1: metrics.jsonl"));
    CHECK(read_text(folder / "metrics.jsonl").empty());
    CHECK(read_text(folder / "aside-1/metrics.jsonl") == kFirstRun);
    // One that did no step has nothing to set aside.
    folder.file("metrics.jsonl", "{\"type\":\"run\",\"first_step\":1}\n{\"type\":\"end\",\"step\":0}\n");
    CHECK(begin_branch(folder.path(), 0).empty());
}

TEST_CASE("branch: a new run beside checkpoints is refused, also beside a link alone", "[unit]") {
    const RunFolder folder;
    CHECK_THROWS_AS(check_new_run(folder.run), ConfigError);
    CHECK_THROWS_WITH(check_new_run(folder.run), Catch::Contains("--resume latest"));
    for (const char* step : {"step-00000002", "step-00000003", "step-00000004"})
        fs::remove(folder.checkpoints / step);
    CHECK_THROWS_AS(check_new_run(folder.run), ConfigError);
    fs::remove(folder.checkpoints / "latest");
    CHECK_NOTHROW(check_new_run(folder.run));
}

TEST_CASE("agree: what rank 0 decides is what every rank gets, answer or error", "[unit]") {
    for (const int ranks : {1, 3}) {
        std::vector<std::string> told(static_cast<std::size_t>(ranks));
        comm::LocalOptions options;
        // Rank 0 takes longer than a message may.
        options.settings.deadline = std::chrono::milliseconds(200);
        comm::LocalFabric(ranks, options).run([&](comm::Communicator& world) {
            std::string& mine = told[static_cast<std::size_t>(world.rank())];
            mine = decided_by_rank_0(world, [&] {
                std::this_thread::sleep_for(std::chrono::milliseconds(600));
                return concat("by rank ", world.rank());
            });
            try {
                decided_by_rank_0(world, []() -> std::string { throw ConfigError("wrong setting"); });
            } catch (const ConfigError& error) {
                mine += concat(", ", error.what());
            }
            try {
                decided_by_rank_0(world, []() -> std::string { throw std::runtime_error("no file"); });
            } catch (const IoError& error) {
                mine += concat(", ", error.what());
            }
        });
        for (const std::string& text : told) CHECK(text == "by rank 0, wrong setting, no file");
    }
}

TEST_CASE("agree: a rank that sees another manifest than rank 0, or none, is named on every rank", "[unit]") {
    const TestFolder folder;
    Manifest manifest;
    for (const char* name : {"new", "old", "none"}) fs::create_directory(folder / name);
    folder.file("new/manifest.json", write_manifest(manifest));
    manifest.step = 1;
    folder.file("old/manifest.json", write_manifest(manifest));
    const char* const views[] = {"new", "old", "new", "none"};
    std::string messages[4];
    comm::LocalFabric(4).run([&](comm::Communicator& world) {
        const std::string checksum = manifest_checksum(read_manifest_text(folder / "new"));
        try {
            runtime::detail::read_manifest_of_rank_0(world, folder / views[world.rank()], checksum);
        } catch (const IoError& error) {
            messages[world.rank()] = error.what();
        }
    });
    for (const std::string& message : messages) {
        CHECK_THAT(message, Catch::Contains("rank 1: it reads one with checksum ") &&
                                Catch::Contains("rank 3: checkpoint ") && !Catch::Contains("rank 2:"));
    }
}

TEST_CASE("lock: a folder has one run at a time, and the next one when it has ended", "[unit]") {
    const TestFolder folder;
    const fs::path run = folder / "deep/run";
    {
        const RunLock lock(run);
        CHECK_THROWS_WITH(RunLock(run), Catch::Contains(concat("is in use by another run (host ")) &&
                                            Catch::Contains(concat(", process ", ::getpid(), ")")));
        CHECK_NOTHROW(RunLock(folder / "other"));
    }
    CHECK_NOTHROW(RunLock(run));
    // A run that was killed leaves its name, and no lock.
    folder.file("deep/run/run.lock", "host elsewhere, process 1\n");
    CHECK_NOTHROW(RunLock(run));
    CHECK_THAT(runtime::detail::no_lock_because(run / "run.lock", ENOLCK, ""),
               Catch::Contains("No locks available") && Catch::Contains("run.lock = no") &&
                   !Catch::Contains("another run ("));
    fs::remove(run / "run.lock");
    fs::create_symlink(folder / "text", run / "run.lock");
    CHECK_THROWS_WITH(RunLock(run), Catch::Contains("open of "));
}

TEST_CASE("lock: two runs that are threads of one process exclude each other, unless they set run.lock = no",
          "[unit]") {
    const TestFolder folder;
    Config config = small_config(folder);
    const RunLock other(config.run.directory);
    CHECK_THROWS_WITH(train_on(2, config, ""), Catch::Contains("is in use by another run"));
    CHECK_FALSE(fs::exists(folder / "run/metrics.jsonl"));
    config.run.lock = false;
    CHECK_NOTHROW(train_on(2, config, ""));
}
