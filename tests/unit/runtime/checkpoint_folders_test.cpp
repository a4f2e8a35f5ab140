// The folder run/checkpoints: which names count, and what latest means.
#include <catch2/catch.hpp>

#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "runtime/checkpoint/checkpoint.hpp"
#include "runtime/checkpoint/folders.hpp"
#include "tests/unit/runtime/run_fixture.hpp"

using namespace sy;
using namespace sy::runtime;
using namespace sy::test;
namespace fs = std::filesystem;

namespace {

/// The error that every removal in a folder fails with; 0: none.
int removals_fail_with = 0;

}  // namespace

/// In place of the C library's, for std::filesystem too.
extern "C" int unlinkat(int folder, const char* name, int flags) noexcept {
    if (removals_fail_with == 0) return static_cast<int>(::syscall(SYS_unlinkat, folder, name, flags));
    errno = removals_fail_with;
    return -1;
}

namespace {

/// A run of 8 steps with checkpoints of steps 2, 4, 6 and 8.
struct FinishedRun {
    TestFolder folder;
    Config config = small_config(folder);
    fs::path checkpoints = folder / "run/checkpoints";

    FinishedRun() {
        config.run.checkpoint_every = 2;
        config.run.keep_last = 10;
        train_on(1, config, "");
    }
    void link(const char* name, const char* target) const {
        fs::remove(checkpoints / name);
        fs::create_symlink(target, checkpoints / name);
    }
    std::string latest() const { return find_checkpoint(config.run.directory, "latest").filename().string(); }
};

}  // namespace

TEST_CASE("folders: only names that this program writes are checkpoints", "[unit]") {
    using runtime::detail::step_of;
    for (const index_t step :
         {index_t{0}, index_t{3}, index_t{99999999}, index_t{100000000}, index_t{1234567890123}})
        CHECK(step_of(runtime::detail::step_name(step)) == step);
    CHECK(runtime::detail::step_name(123456789) == "step-123456789");
    for (const char* name :
         {"step-best", "step-00-my-notes", "step-3", "step-000000003", "step-00000003 ", "step-0000003x",
          "step--0000003", "step-+0000003", "step-", "Step-00000003", "step-99999999999999999999", ""}) {
        INFO(name);
        CHECK_FALSE(step_of(name).has_value());
    }
}

TEST_CASE("folders: steps are sorted as numbers, and rotation leaves what it does not know", "[unit]") {
    const TestFolder folder;
    for (const char* name : {"step-100000001", "step-99999999", "step-00000007", "step-best",
                             "step-00-my-notes", "step-0000003", "notes"})
        fs::create_directories(folder / name);
    fs::create_directory_symlink("step-best", folder / "step-00000001");
    CHECK(runtime::detail::published_steps(folder.path()) == std::vector<index_t>{7, 99999999, 100000001});
    fs::create_symlink("step-100000001", folder / "latest");
    runtime::detail::remove_old(folder.path(), 1, std::nullopt);
    CHECK(runtime::detail::published_steps(folder.path()) == std::vector<index_t>{100000001});
    for (const char* name : {"step-best", "step-00-my-notes", "step-0000003", "notes"})
        CHECK(fs::is_directory(folder / name));
    CHECK(fs::is_symlink(folder / "step-00000001"));
    CHECK(runtime::detail::published_steps(folder / "none").empty());
}

TEST_CASE("folders: latest is what the link says, whatever else stands beside it", "[unit]") {
    const FinishedRun run;
    CHECK(run.latest() == "step-00000008");
    run.link("latest", "step-00000004");
    fs::copy(run.checkpoints / "step-00000006", run.checkpoints / "step-best");
    CHECK(run.latest() == "step-00000004");
    CHECK(follow_latest(run.checkpoints / "latest/").filename() == "step-00000004");
    CHECK(find_checkpoint("", (run.checkpoints / "latest").string()).filename() == "step-00000004");
    // A copy without links has a folder of that name.
    fs::remove(run.checkpoints / "latest");
    fs::copy(run.checkpoints / "step-00000002", run.checkpoints / "latest");
    CHECK(run.latest() == "latest");
}

TEST_CASE("folders: a publication that was killed before it moved the link counts", "[unit]") {
    FinishedRun run;
    run.link("latest", "step-00000006");
    run.link("latest.new", "step-00000008");
    CHECK(run.latest() == "step-00000008");
    // Killed before the folder got its name.
    run.link("latest.new", "step-00000010");
    CHECK(run.latest() == "step-00000006");

    // The first checkpoint of a run.
    for (const char* step : {"step-00000002", "step-00000004", "step-00000008"})
        fs::remove_all(run.checkpoints / step);
    fs::remove(run.checkpoints / "latest");
    run.link("latest.new", "step-00000006");
    CHECK(run.latest() == "step-00000006");
    train_on(2, run.config, "latest");
    CHECK(fs::read_symlink(run.checkpoints / "latest") == "step-00000008");
    CHECK_FALSE(fs::is_symlink(run.checkpoints / "latest.new"));
    CHECK(verify_checkpoint(run.checkpoints / "latest").empty());
}

TEST_CASE("folders: an old checkpoint that cannot be removed is noted, and the others are removed",
          "[unit]") {
    const TestFolder folder;
    for (const char* step : {"step-00000001", "step-00000002", "step-00000003"})
        fs::create_directory(folder / step);
    fs::create_directory_symlink("step-00000003", folder / "latest");
    fs::create_directories(folder / ".unfinished-removal-of-step-00000001/in the way");
    const std::vector<std::string> notes = runtime::detail::remove_old(folder.path(), 1, std::nullopt);
    REQUIRE(notes.size() == 1);
    CHECK_THAT(notes[0], Catch::Contains("could not remove") && Catch::Contains("step-00000001") &&
                             Catch::Contains("not empty"));
    CHECK(fs::exists(folder / "step-00000001"));
    CHECK_FALSE(fs::exists(folder / "step-00000002"));
    CHECK(fs::exists(folder / "step-00000003"));
}

TEST_CASE("folders: files that are open elsewhere stay, with a note, until a later checkpoint removes them",
          "[unit]") {
    const TestFolder folder;
    for (const char* step : {"step-00000001", "step-00000002"}) fs::create_directory(folder / step);
    folder.file("step-00000001/shard-00000.h5", "open on another host");
    fs::create_directory_symlink("step-00000002", folder / "latest");
    // As NFS says it of a file that it keeps as .nfs...
    removals_fail_with = EBUSY;
    const std::vector<std::string> notes = runtime::detail::remove_old(folder.path(), 1, std::nullopt);
    const std::vector<std::string> again = runtime::detail::make_unfinished(folder.path(), 3);
    removals_fail_with = 0;
    for (const std::vector<std::string>& said : {notes, again}) {
        REQUIRE(said.size() == 1);
        CHECK_THAT(said[0], Catch::Contains("could not remove") && Catch::Contains("busy"));
    }
    CHECK(runtime::detail::published_steps(folder.path()) == std::vector<index_t>{2});
    const fs::path kept = folder / ".unfinished-removal-of-step-00000001";
    CHECK(fs::exists(kept));
    CHECK(runtime::detail::make_unfinished(folder.path(), 4).empty());
    CHECK_FALSE(fs::exists(kept));
}

TEST_CASE("folders: a link that is gone or wrong is named with the newest whole checkpoint", "[unit]") {
    const FinishedRun run;
    fs::resize_file(run.checkpoints / "step-00000008/shard-00000.h5", 100);
    const std::string whole = (run.checkpoints / "step-00000006").string();
    fs::remove(run.checkpoints / "latest");
    CHECK_THROWS_WITH(
        run.latest(),
        Catch::Contains("checkpoints/latest is missing; the newest whole checkpoint is " + whole) &&
            Catch::Contains("--resume " + whole));
    for (const auto& [target, trouble] :
         {std::pair{"step-00000010", "which is not there"},
          std::pair{"step-best", "which is no checkpoint of a run"},
          std::pair{"/tmp/step-00000006", "which is no checkpoint of a run"}}) {
        run.link("latest", target);
        CHECK_THROWS_WITH(run.latest(),
                          Catch::Contains(concat("checkpoints/latest names ", target, ", ", trouble)) &&
                              Catch::Contains("--resume " + whole));
    }
    for (const char* step : {"step-00000002", "step-00000004", "step-00000006"})
        fs::remove(run.checkpoints / step / "manifest.json");
    CHECK_THROWS_WITH(run.latest(), Catch::Contains("none of the checkpoints in "));
    const TestFolder empty;
    CHECK_THROWS_WITH(find_checkpoint(empty.path(), "latest"), Catch::Contains("no checkpoint at"));
}

TEST_CASE("folders: a checkpoint that lost its manifest is named with the newest whole one", "[unit]") {
    const FinishedRun run;
    fs::remove(run.checkpoints / "step-00000008/manifest.json");
    const std::string whole = (run.checkpoints / "step-00000006").string();
    const auto names_whole = Catch::Contains("the newest whole checkpoint is " + whole);
    CHECK_THROWS_WITH(run.latest(),
                      Catch::Contains("step-00000008, whose manifest.json is missing") && names_whole);
    CHECK_THROWS_WITH(
        find_checkpoint(run.checkpoints.parent_path(), (run.checkpoints / "step-00000008/").string()),
        names_whole);
    fs::remove(run.checkpoints / "latest");
    fs::create_directory(run.checkpoints / "latest");
    CHECK_THROWS_WITH(run.latest(), names_whole);
    fs::remove(run.checkpoints / "latest");
    run.link("latest", "latest");
    CHECK_THROWS_WITH(run.latest(),
                      Catch::Contains("names latest, which is no checkpoint of a run") && names_whole);
}
