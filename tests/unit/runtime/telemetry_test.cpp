#include <catch2/catch.hpp>

#include <sys/resource.h>

#include <csignal>
#include <limits>
#include <map>
#include <set>
#include <sstream>

#include "runtime/telemetry/json_lines.hpp"
#include "runtime/telemetry/progress.hpp"
#include "tests/unit/runtime/test_folder.hpp"

using namespace sy;
using namespace sy::runtime;
using sy::test::read_text;
using sy::test::TestFolder;

namespace {

std::vector<Json> parse_lines(const std::filesystem::path& path) {
    std::vector<Json> records;
    std::istringstream lines(read_text(path));
    for (std::string line; std::getline(lines, line);) records.push_back(Json::parse(line));
    return records;
}

StepRecord step_record(index_t step) {
    StepRecord record;
    record.step = step;
    record.loss = 2.34567;
    record.targets = 4096;
    record.tokens = 4096;
    record.seconds = 0.25;
    record.phases[Phase::communication] = 0.05;
    record.imbalance = 1.234;
    return record;
}

/// Time that stands still until told.
struct ManualClock {
    double seconds = 100.0;
    std::function<double()> function() {
        return [this] { return seconds; };
    }
};

/// The fields that the table of the README lists for each record type.
std::map<std::string, std::set<std::string>> documented_fields() {
    std::map<std::string, std::set<std::string>> fields;
    std::istringstream lines(read_text(SY_TELEMETRY_README));
    std::string type;
    for (std::string line; std::getline(lines, line);) {
        if (!line.starts_with("| ") || line.starts_with("| record")) continue;
        std::istringstream cells(line);
        std::string cell;
        std::getline(cells, cell, '|');
        std::getline(cells, cell, '|');
        if (cell.find_first_not_of(' ') != std::string::npos) {
            const auto first = cell.find('`');
            type = first == std::string::npos ? "all" : cell.substr(first + 1, cell.rfind('`') - first - 1);
        }
        std::getline(cells, cell, '|');
        fields[type].insert(cell.substr(2, cell.rfind('`') - 2));
    }
    return fields;
}

}  // namespace

TEST_CASE("json lines: records read back, and a file is continued, never overwritten", "[unit]") {
    const TestFolder folder;
    const auto path = folder.path() / "new" / "metrics.jsonl";
    {
        JsonLines lines(path);
        lines.write(Json::Object{{"step", 1}, {"text", "a \"quote\"\nand a line"}});
        // Readable at once: the record is there before the writer is closed.
        CHECK(parse_lines(path).size() == 1);
    }
    JsonLines(path).write(Json::Object{{"step", 2}, {"loss", 0.1 + 0.2}});
    const std::vector<Json> records = parse_lines(path);
    REQUIRE(records.size() == 2);
    CHECK(records[0].at("text").as_string() == "a \"quote\"\nand a line");
    CHECK(records[1].at("loss").as_number() == 0.1 + 0.2);
}

TEST_CASE("json lines: a line cut short by a crash does not swallow the next record", "[unit]") {
    const TestFolder folder;
    const std::string path = folder.file("metrics.jsonl", "{\"step\":1}\n{\"step\":2,\"lo");
    JsonLines(path).write(Json::Object{{"step", 3}});
    CHECK(read_text(path) == "{\"step\":1}\n{\"step\":2,\"lo\n{\"step\":3}\n");
}

TEST_CASE("json lines: numbers that JSON cannot write become null, wherever they are", "[unit]") {
    const TestFolder folder;
    const auto path = folder.path() / "metrics.jsonl";
    const double nan = std::numeric_limits<double>::quiet_NaN();
    const double infinity = std::numeric_limits<double>::infinity();
    JsonLines(path).write(
        Json::Object{{"a", nan}, {"b", Json::Object{{"c", -infinity}}}, {"d", Json::Array{1.5, infinity}}});
    CHECK(read_text(path) == "{\"a\":null,\"b\":{\"c\":null},\"d\":[1.5E0,null]}\n");
}

TEST_CASE("json lines: a place that cannot be written to is refused with its name", "[unit]") {
    const TestFolder folder;
    folder.file("file", "x");
    CHECK_THROWS_WITH(JsonLines(folder.path() / "file" / "metrics.jsonl"),
                      Catch::Contains("metrics: cannot create"));
    CHECK_THROWS_WITH(JsonLines(folder.path()),
                      Catch::Contains("metrics: cannot append to " + folder.path().string()));
}

TEST_CASE("json lines: a full disk is an error, not a gap", "[unit]") {
    if (!std::filesystem::exists("/dev/full")) {
        WARN("SKIPPED: no /dev/full on this system");
        return;
    }
    JsonLines lines("/dev/full");
    CHECK_THROWS_WITH(lines.write(Json::Object{{"step", 1}}),
                      "metrics: writing /dev/full failed: No space left on device");
}

TEST_CASE("json lines: a record that fits only in part is not there at all", "[unit]") {
    const TestFolder folder;
    const auto path = folder.path() / "metrics.jsonl";
    JsonLines lines(path);
    lines.write(Json::Object{{"step", 1}});
    // A limit on the size of files fails a write in its middle, as a disk does that becomes full.
    rlimit before{};
    REQUIRE(::getrlimit(RLIMIT_FSIZE, &before) == 0);
    const rlimit narrow{16, before.rlim_max};
    const auto handler = std::signal(SIGXFSZ, SIG_IGN);
    REQUIRE(::setrlimit(RLIMIT_FSIZE, &narrow) == 0);
    std::string message;
    try {
        lines.write(Json::Object{{"step", 2}});
    } catch (const IoError& error) {
        message = error.what();
    }
    ::setrlimit(RLIMIT_FSIZE, &before);
    std::signal(SIGXFSZ, handler);
    CHECK(message == "metrics: writing " + path.string() + " failed: File too large");
    CHECK(read_text(path) == "{\"step\":1}\n");
    lines.write(Json::Object{{"step", 3}});
    CHECK(read_text(path) == "{\"step\":1}\n{\"step\":3}\n");
}

TEST_CASE("records: the fields are exactly those that the README documents", "[unit]") {
    RunRecord run;
    run.config_json = "{}";
    const std::map<std::string, Json> records{{"run", to_json(run)},
                                              {"step", to_json(StepRecord{})},
                                              {"eval", to_json(EvalRecord{})},
                                              {"checkpoint", to_json(CheckpointRecord{})},
                                              {"placement", to_json(PlacementRecord{})},
                                              {"end", to_json(EndRecord{})}};
    const auto documented = documented_fields();
    REQUIRE(documented.size() == records.size() + 1);
    CHECK(documented.at("all") == std::set<std::string>{"type"});
    for (const auto& [type, record] : records) {
        INFO(type);
        CHECK(record.at("type").as_string() == type);
        std::set<std::string> fields;
        for (const Json::Member& member : record.as_object()) {
            if (member.name != "type") fields.insert(member.name);
        }
        CHECK(fields == documented.at(type));
    }
}

TEST_CASE("records: a step holds its phases by name, layers, rates and whole hashes", "[unit]") {
    StepRecord record = step_record(7);
    record.routing_hash = 0xffff'0000'0000'0001ULL;
    record.extra_losses = {{"z_loss", 1.5}};
    record.layers = {{3, {40, 11}, 2, 0xabcULL}};
    const Json object = to_json(record);
    CHECK(object.at("routing_hash").as_string() == "ffff000000000001");
    CHECK(object.at("tokens_per_s").as_number() == 4096.0 / 0.25);
    CHECK(object.at("phases").as_object().size() == 4);
    CHECK(object.at("phases").at("communication").as_number() == 0.05);
    CHECK(object.at("extra_losses").at("z_loss").as_number() == 1.5);
    const Json& layer = object.at("layers").as_array().at(0);
    CHECK(layer.at("layer").as_whole() == 3);
    CHECK(layer.at("load").as_array() == Json::Array{40, 11});
    CHECK(layer.at("routing_hash").as_string() == "0000000000000abc");
    CHECK(record.communication_share() == Approx(0.2));
    CHECK(StepRecord{}.tokens_per_s() == 0.0);
}

TEST_CASE("records: ranks say how long they computed, together in a step and each at the end", "[unit]") {
    StepRecord record = step_record(1);
    record.useful_seconds = {0.125, 0.25};
    const Json step = to_json(record);
    CHECK(step.at("useful_seconds").at("mean").as_number() == 0.125);
    CHECK(step.at("useful_seconds").at("max").as_number() == 0.25);
    const Json end = to_json(EndRecord{1, false, 0, {{"node7", 0.5, 1 << 20}, {"node8", 0.25, 1 << 19}}});
    REQUIRE(end.at("ranks").as_array().size() == 2);
    const Json& rank = end.at("ranks").as_array()[1];
    CHECK(rank.at("host").as_string() == "node8");
    CHECK(rank.at("useful_seconds").as_number() == 0.25);
    CHECK(rank.at("memory_bytes").as_whole() == 1 << 19);
}

TEST_CASE("records: a placement adds up its layers and shows the worst", "[unit]") {
    PlacementRecord record;
    record.step = 50;
    record.add({1, 3, 2, 1.75, 1.02});
    record.add({2, 1, 0, 1.5, 1.125});
    const Json object = to_json(record);
    CHECK(object.at("moved").as_whole() == 4);
    CHECK(object.at("shadows").as_whole() == 2);
    CHECK(object.at("imbalance_before").as_number() == 1.75);
    CHECK(object.at("imbalance_after").as_number() == 1.125);
    REQUIRE(object.at("layers").as_array().size() == 2);
    const Json& layer = object.at("layers").as_array().at(1);
    CHECK(layer.at("layer").as_whole() == 2);
    CHECK(layer.at("imbalance_before").as_number() == 1.5);
}

TEST_CASE("phase timer: time goes to its phase, waiting inside any phase to communication", "[unit]") {
    ManualClock clock;
    ManualClock waiting;
    PhaseTimer timer(clock.function(), waiting.function());
    {
        const auto scope = timer.scope(Phase::compute);
        clock.seconds += 4.0;
        waiting.seconds += 1.0;
    }
    clock.seconds += 50.0;  // between phases: nobody's
    {
        const auto scope = timer.scope(Phase::optimizer);
        clock.seconds += 2.0;
        waiting.seconds += 0.5;
    }
    {
        const auto scope = timer.scope(Phase::compute);
        clock.seconds += 1.0;
    }
    const PhaseSeconds seconds = timer.take();
    CHECK(seconds[Phase::compute] == 4.0);
    CHECK(seconds[Phase::communication] == 1.5);
    CHECK(seconds[Phase::optimizer] == 1.5);
    CHECK(seconds[Phase::data] == 0.0);
    CHECK(seconds.total() == 7.0);
    CHECK(timer.take().total() == 0.0);
}

TEST_CASE("phase timer: phases do not nest", "[unit]") {
    ManualClock clock;
    PhaseTimer timer(clock.function(), clock.function());
    {
        const auto scope = timer.scope(Phase::data);
        CHECK_THROWS_AS(timer.scope(Phase::compute), LogicError);
    }
    CHECK_NOTHROW(timer.scope(Phase::compute));
}

TEST_CASE("progress: lines for files come every so often, and for the first and the last step", "[unit]") {
    ManualClock clock;
    std::ostringstream out;
    Progress progress(out, {ProgressStyle::lines, 1, 25, 10, clock.function()});
    for (index_t step = 1; step <= 25; ++step) {
        clock.seconds += 2.0;
        progress.step(step_record(step));
    }
    CHECK(out.str() ==
          "step  1/25  loss 2.3457     16384 tokens/s  comm 20 %  imbalance 1.23  dropped 0  left 48 s\n"
          "step 10/25  loss 2.3457     16384 tokens/s  comm 20 %  imbalance 1.23  dropped 0  left 30 s\n"
          "step 20/25  loss 2.3457     16384 tokens/s  comm 20 %  imbalance 1.23  dropped 0  left 10 s\n"
          "step 25/25  loss 2.3457     16384 tokens/s  comm 20 %  imbalance 1.23  dropped 0  left 0 s\n");
}

TEST_CASE("progress: on a terminal one line is rewritten, and notes stand on their own", "[unit]") {
    ManualClock clock;
    std::ostringstream out;
    {
        Progress progress(out, {ProgressStyle::live, 1, 1000, 10, clock.function()});
        StepRecord record = step_record(1);
        record.dropped = 12345;
        progress.step(record);
        clock.seconds += 0.01;
        progress.step(step_record(2));  // too soon to be seen
        clock.seconds += 1.0;
        progress.step(step_record(3));
        progress.note("checkpoint");
    }
    const std::string first =
        "\rstep    1/1000  loss 2.3457     16384 tokens/s  comm 20 %  imbalance 1.23  dropped 12345  left 0 "
        "s";
    const std::string third =
        "\rstep    3/1000  loss 2.3457     16384 tokens/s  comm 20 %  imbalance 1.23  dropped 0  left 5:36";
    const std::string cover(first.size() > third.size() ? first.size() - third.size() : 0, ' ');
    CHECK(out.str() == first + third + cover + "\ncheckpoint\n");
}

TEST_CASE("progress: a skipped step is always shown", "[unit]") {
    ManualClock clock;
    std::ostringstream out;
    Progress progress(out, {ProgressStyle::lines, 1, 100, 10, clock.function()});
    StepRecord record = step_record(7);
    record.applied = false;
    progress.step(record);
    CHECK(out.str().find("step   7/100") != std::string::npos);
    CHECK(out.str().find("SKIPPED: gradient not finite") != std::string::npos);
    // On a terminal it stays to be read.
    std::ostringstream screen;
    Progress live(screen, {ProgressStyle::live, 1, 100, 10, clock.function()});
    live.step(record);
    CHECK(screen.str().ends_with("SKIPPED: gradient not finite\n"));
}

TEST_CASE(
    "progress: a loss that is not finite is shown as it is, and a step that was asked nothing claims none",
    "[unit]") {
    StepRecord record = step_record(1);
    record.loss = std::numeric_limits<double>::quiet_NaN();
    CHECK_THAT(progress_line(record, 2, 0.0), Catch::Contains("  loss nan  "));
    record.targets = 0;
    CHECK_THAT(progress_line(record, 2, 0.0), Catch::Contains("  loss -  "));
    const Json written = to_json(record);
    CHECK(written.at("targets").as_whole() == 0);
}

TEST_CASE("progress: the time left is readable", "[unit]") {
    const auto ends = [](double seconds, const std::string& text) {
        const std::string line = progress_line(step_record(1), 2, seconds);
        return line.ends_with("left " + text);
    };
    CHECK(ends(0.2, "0 s"));
    CHECK(ends(59.4, "59 s"));
    CHECK(ends(60.0, "1:00"));
    CHECK(ends(3599.0, "59:59"));
    CHECK(ends(3605.0, "1:00:05"));
    CHECK(ends(90061.0, "25:01:01"));
}
