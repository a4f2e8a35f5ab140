#include <catch2/catch.hpp>

#include <sys/stat.h>

#include <cmath>
#include <limits>
#include <sstream>

#include "runtime/json/json.hpp"
#include "runtime/report/table.hpp"
#include "runtime/telemetry/json_lines.hpp"
#include "runtime/telemetry/records.hpp"
#include "tests/unit/runtime/test_folder.hpp"

using namespace sy;
using namespace sy::runtime;
using sy::test::read_text;
using sy::test::TestFolder;

namespace {

constexpr double kNotFinite = std::numeric_limits<double>::infinity();

/// A step of two mixtures of two experts with 40 choices each, as a run writes it.
StepRecord step_record(index_t step, double loss) {
    StepRecord record;
    record.step = step;
    record.token_loss = loss;
    record.targets = 20;
    record.extra_losses = {{"switch_loss", 2.5}, {"z_loss", 8.0}};
    record.gradient_norm = 1.5;
    record.tokens = 20;
    record.seconds = 0.5;
    record.dropped = 8;
    record.imbalance = 1.75;
    record.layers = {{0, {30, 10}, 5, 7}, {1, {35, 5}, 3, 9}};
    return record;
}

/// A run in `folder` with these losses, a validation a step, and its end unless told otherwise.
enum class End { reached, missing };
void write_run(const std::filesystem::path& folder, const std::vector<double>& losses,
               End end = End::reached) {
    JsonLines lines(folder / "metrics.jsonl");
    index_t step = 0;
    for (const double loss : losses) {
        ++step;
        lines.write(to_json(step_record(step, loss)));
        lines.write(to_json(EvalRecord{step, loss, 2.0 * loss, 0.1}));
    }
    if (end == End::reached) lines.write(to_json(EndRecord{step, false, 0}));
}

/// A row with runs whose last validations are these.
RunRow row_with(const std::string& name, const std::vector<double>& bits) {
    RunRow row;
    row.name = name;
    for (const double value : bits) {
        RunHistory history;
        history.finished = true;
        history.steps.push_back({1, value, 1.0, 1.0, 0.0, 1.0, 10, 1.0});
        history.validations.push_back({1, value});
        row.runs.push_back(summarise(history));
        row.histories.push_back(history);
    }
    return row;
}

bool has(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("report: a history is what the run wrote", "[unit]") {
    const TestFolder folder;
    write_run(folder.path(), {3.0, 2.5});
    const RunHistory history = read_history(folder.path());
    REQUIRE(history.steps.size() == 2);
    const StepPoint& point = history.steps[1];
    CHECK(point.step == 2);
    CHECK(point.token_loss == 2.5);
    CHECK(point.gradient_norm == 1.5);
    CHECK(point.load == 1.75);
    CHECK(point.dropped == 8.0 / 80.0);
    // A z-loss of 8 over two layers: a mean square of 4.
    CHECK(point.logsumexp == 2.0);
    CHECK(point.tokens == 20);
    CHECK(point.seconds == 0.5);
    REQUIRE(history.validations.size() == 2);
    CHECK(history.validations[1].step == 2);
    CHECK(history.validations[1].bits_per_byte == 5.0);
    CHECK(history.finished);
}

TEST_CASE("report: the later line of a step counts, and what a killed run left unfinished is passed over",
          "[unit]") {
    const TestFolder folder;
    write_run(folder.path(), {3.0, 2.5, 2.0}, End::missing);
    CHECK_FALSE(read_history(folder.path()).finished);
    {
        std::ofstream file(folder / "metrics.jsonl", std::ios::app);
        file << "{\"type\":\"step\",\"step\":4,\"tok";
    }
    JsonLines lines(folder / "metrics.jsonl");
    lines.write(to_json(step_record(3, 1.0)));
    lines.write(to_json(EndRecord{3, true, 0}));
    const RunHistory stopped = read_history(folder.path());
    REQUIRE(stopped.steps.size() == 3);
    CHECK(stopped.steps[2].token_loss == 1.0);
    CHECK_FALSE(stopped.finished);
    lines.write(to_json(EndRecord{3, false, 0}));
    CHECK(read_history(folder.path()).finished);
}

TEST_CASE("report: numbers that were not finite, and what dense models lack, are NaN", "[unit]") {
    const TestFolder folder;
    StepRecord dense = step_record(1, kNotFinite);
    dense.layers.clear();
    dense.extra_losses.clear();
    JsonLines(folder / "metrics.jsonl").write(to_json(dense));
    const RunHistory history = read_history(folder.path());
    REQUIRE(history.steps.size() == 1);
    CHECK(std::isnan(history.steps[0].token_loss));
    CHECK(std::isnan(history.steps[0].load));
    CHECK(std::isnan(history.steps[0].dropped));
    CHECK(std::isnan(history.steps[0].logsumexp));
    const RunSummary summary = summarise(history);
    CHECK(summary.spikes == 1.0);
    CHECK(std::isnan(summary.load));
    CHECK(std::isnan(summary.final_bits));
}

TEST_CASE("report: a step that was asked nothing has no loss, but has not diverged", "[unit]") {
    const TestFolder folder;
    JsonLines lines(folder / "metrics.jsonl");
    lines.write(to_json(step_record(1, 2.0)));
    StepRecord idle = step_record(2, std::numeric_limits<double>::quiet_NaN());
    idle.targets = 0;
    lines.write(to_json(idle));
    const RunSummary summary = summarise(read_history(folder.path()));
    CHECK_FALSE(summary.diverged);
    CHECK(summary.spikes == 0.0);
    lines.write(to_json(step_record(3, std::numeric_limits<double>::quiet_NaN())));
    CHECK(summarise(read_history(folder.path())).diverged);
}

TEST_CASE("report: what is no run is refused by name", "[unit]") {
    const TestFolder folder;
    CHECK_THROWS_WITH(read_row(folder.path()),
                      Catch::Contains("neither") && Catch::Contains(folder.path().string()));
    CHECK_THROWS_WITH(read_history(folder / "nowhere"), Catch::Contains("cannot read"));
    folder.file("metrics.jsonl", "step,loss\n1,2.0\n");
    CHECK_THROWS_WITH(read_row(folder.path()), Catch::Contains("no line of"));
    write_run(folder / "run", {2.0});
    const std::vector<RunRow> rows{read_row(folder / "run")};
    CHECK_THROWS_AS(write_data(folder / "metrics.jsonl" / "data", rows), IoError);
    // A pipe that nobody writes to is not waited for.
    std::filesystem::create_directory(folder / "pipe");
    REQUIRE(::mkfifo((folder / "pipe/metrics.jsonl").c_str(), 0600) == 0);
    CHECK_THROWS_WITH(read_row(folder / "pipe"), Catch::Contains("cannot read"));
}

TEST_CASE("report: loads are of the last 100 steps, drops and speed of all", "[unit]") {
    RunHistory history;
    for (index_t step = 1; step <= 150; ++step) {
        // Loads of 8 before the last hundred steps, 2 and 4 in turns in them.
        const double load = step <= 50 ? 8.0 : 2.0 + 2.0 * static_cast<double>(step % 2);
        history.steps.push_back(
            {step, 2.0, static_cast<double>(step), load, step <= 75 ? 0.5 : 0.0, 1.0, 30, 0.25});
    }
    history.validations = {{50, 3.0}, {100, 2.0}, {150, 2.5}};
    const RunSummary summary = summarise(history);
    CHECK(summary.steps == 150);
    CHECK(summary.load == 3.0);
    CHECK(summary.dropped == 0.25);
    CHECK(summary.tokens_per_s == 120.0);
    CHECK(summary.final_bits == 2.5);
    CHECK(summary.best_bits == 2.0);
    CHECK(summary.largest_gradient == 150.0);
    CHECK(summary.largest_logsumexp == 1.0);
    history.steps[7].gradient_norm = std::numeric_limits<double>::quiet_NaN();
    CHECK(std::isinf(summarise(history).largest_gradient));
}

TEST_CASE("report: a loss that leaps is one spike however long it stays up", "[unit]") {
    std::vector<double> losses;
    for (int i = 0; i < 200; ++i) losses.push_back(3.0 - 0.005 * i + (i % 2 == 0 ? 0.02 : -0.02));
    CHECK(count_spikes(losses) == 0);
    losses[100] += 1.0;
    losses[101] += 0.8;
    CHECK(count_spikes(losses) == 1);
    losses[150] = std::numeric_limits<double>::quiet_NaN();
    CHECK(count_spikes(losses) == 2);
    // Noise of its own size is none, nor is anything before there is a window to compare with.
    losses[180] += 0.05;
    losses[10] += 2.0;
    CHECK(count_spikes(losses) == 2);
    // In a loss that does not move at all, a spike is 5 %.
    std::vector<double> flat(64, 2.0);
    flat[40] = 2.09;
    CHECK(count_spikes(flat) == 0);
    flat[50] = 2.11;
    CHECK(count_spikes(flat) == 1);
}

TEST_CASE("report: means and sample deviations over seeds", "[unit]") {
    const std::vector<double> values{1.0, 2.0, 6.0};
    CHECK(statistic(values).mean == Approx(3.0));
    CHECK(statistic(values).deviation == Approx(std::sqrt(7.0)));
    CHECK(std::isnan(statistic(std::vector<double>{4.0}).deviation));
    CHECK(std::isnan(statistic({}).mean));

    const TestFolder folder;
    write_run(folder / "wide" / "seed-1", {3.0, 2.0});
    write_run(folder / "wide" / "seed-2", {3.0, 2.5, 1.0}, End::missing);
    folder.file("wide-notes", "not a run");
    const RunRow row = read_row(folder / "wide/");
    CHECK(row.name == "wide");
    REQUIRE(row.runs.size() == 2);
    CHECK(row.over_seeds(&RunSummary::final_bits).mean == Approx(3.0));
    CHECK(row.over_seeds(&RunSummary::final_bits).deviation == Approx(std::sqrt(2.0)));
    CHECK(row.steps() == 2);
    CHECK_FALSE(row.finished());
    CHECK(read_row(folder / "wide" / "seed-1").finished());
}

TEST_CASE("report: the table aligns, marks unfinished runs, and json has the same numbers", "[unit]") {
    const TestFolder folder;
    write_run(folder / "a", {3.0, 2.0});
    write_run(folder / "longer_name" / "1", {3.0, 1.5}, End::missing);
    write_run(folder / "longer_name" / "2", {3.0, 2.5});
    const std::vector<RunRow> rows{read_row(folder / "a"), read_row(folder / "longer_name")};
    std::ostringstream table;
    print_table(table, rows);
    std::istringstream lines(table.str());
    std::string head;
    std::string first;
    std::string second;
    std::getline(lines, head);
    std::getline(lines, first);
    std::getline(lines, second);
    CHECK(head.size() == first.size());
    CHECK(head.size() == second.size());
    CHECK(first.starts_with("a "));
    CHECK(has(first, "4.0000"));
    CHECK_FALSE(has(first, "("));
    CHECK(has(second, "2*"));
    CHECK(has(second, "4.0000 (1.4142)"));
    CHECK(has(second, "10.00 (0.00)"));

    std::ostringstream text;
    print_json(text, rows);
    std::istringstream objects(text.str());
    std::string line;
    std::getline(objects, line);
    const Json object = Json::parse(line);
    CHECK(object.at("name") == "a");
    CHECK(object.at("steps") == 2);
    CHECK(object.at("finished") == true);
    CHECK(object.at("bits_per_byte").as_number() == 4.0);
    CHECK(object.at("bits_per_byte_deviation").is_null());
    CHECK(object.at("dropped").as_number() == Approx(0.1));
    CHECK(object.at("tokens_per_s").as_number() == 40.0);
}

TEST_CASE("report: the remark orders rows, and says what seeds alone could do", "[unit]") {
    const std::vector<RunRow> alone{row_with("b", {2.5}), row_with("a", {2.0})};
    const std::string one = remark(alone);
    CHECK(has(one, "a, 2.0000 bits per byte; behind it b +0.5000."));
    CHECK(has(one, "One seed each"));
    CHECK(has(one, "No training loss spiked."));

    const std::vector<RunRow> apart{row_with("a", {2.0, 2.02}), row_with("b", {2.5, 2.52})};
    CHECK(has(remark(apart), "lie 0.5000, more than twice"));
    const std::vector<RunRow> near{row_with("a", {2.0, 2.2}), row_with("b", {2.05, 2.25})};
    CHECK(has(remark(near), "seeds alone could do"));

    std::vector<RunRow> broken{row_with("a", {2.0}), row_with("b", {1.0})};
    broken[1].runs[0].finished = false;
    broken[1].runs[0].spikes = 3.0;
    const std::string text = remark(broken);
    CHECK(has(text, "Lowest last validation: a, 2.0000"));
    CHECK_FALSE(has(text, "behind it"));
    CHECK(has(text, "Spikes of the training loss: b 3."));
    CHECK(has(text, "Not finished: b (step 1)."));
}

TEST_CASE("report: a run that diverged is named and never ranked, whatever its last validation", "[unit]") {
    const double nothing = std::numeric_limits<double>::quiet_NaN();
    for (const bool by_validation : {true, false}) {
        std::vector<RunRow> rows{row_with("a", {2.0}), row_with("b", {0.0})};
        RunHistory& history = rows[1].histories[0];
        (by_validation ? history.validations.back().bits_per_byte : history.steps.back().token_loss) =
            nothing;
        rows[1].runs[0] = summarise(history);
        const std::string text = remark(rows);
        CHECK(has(text, "Lowest last validation: a, 2.0000"));
        CHECK_FALSE(has(text, "behind it"));
        CHECK(has(text, "Diverged, and not ranked: b."));
        std::ostringstream json;
        print_json(json, rows);
        CHECK(has(json.str(), "\"diverged\":true"));
        std::ostringstream table;
        print_table(table, rows);
        CHECK(has(table.str(), "1!"));
    }
    // One seed of two is enough.
    std::vector<RunRow> rows{row_with("a", {2.0}), row_with("b", {1.0, 1.0})};
    rows[1].histories[1].steps.back().token_loss = nothing;
    rows[1].runs[1] = summarise(rows[1].histories[1]);
    CHECK(has(remark(rows), "Lowest last validation: a"));
}

TEST_CASE("report: lines that could not be read are counted", "[unit]") {
    const TestFolder folder;
    write_run(folder / "a", {2.0});
    {
        std::ofstream file(folder / "a" / "metrics.jsonl", std::ios::app);
        file << "{\"type\":\"step\",\"step\":2,\"tok\nnothing\n\n{\"no\":\"record\"}\n"
                "{\"type\":\"step\",\"step\":2,\"layers\":[7]}\n[]\n3\n";
    }
    const std::vector<RunRow> rows{read_row(folder / "a")};
    CHECK(rows[0].unread_lines() == 6);
    CHECK(rows[0].steps() == 1);
    CHECK(has(remark(rows), "Lines of metrics.jsonl that could not be read: a 6."));
    std::ostringstream json;
    print_json(json, rows);
    CHECK(has(json.str(), "\"unread_lines\":6"));
}

TEST_CASE("report: rows that are the same bit for bit are named", "[unit]") {
    const std::vector<RunRow> rows{row_with("a", {2.0}), row_with("b", {3.0}), row_with("c", {2.0}),
                                   row_with("d", {2.0})};
    CHECK(has(remark(rows), "did nothing: a, c, d."));
    CHECK_FALSE(has(remark(std::span(rows).first(2)), "did nothing"));
}

TEST_CASE("report: data to draw counts steps from a run's own first, and averages seeds", "[unit]") {
    const TestFolder folder;
    RunRow row;
    row.name = "a";
    for (const double loss : {1.0, 2.0}) {
        RunHistory history;
        const double nothing = std::numeric_limits<double>::quiet_NaN();
        history.steps = {{11, loss, 4.0, nothing, 0.5, nothing, 10, 1.0},
                         {12, 2.0 * loss, 5.0, nothing, 0.0, nothing, 10, 1.0}};
        history.validations = {{12, loss}};
        row.histories.push_back(history);
        row.runs.push_back(summarise(history));
    }
    write_data(folder / "data", std::vector<RunRow>{row});
    CHECK(read_text(folder / "data" / "a.steps.dat") ==
          "# step smoothed_loss loss gradient_norm smoothed_load smoothed_dropped logsumexp\n"
          "1 1.5 1.5 4 nan 0.5 nan\n"
          "2 2.25 3 5 nan 0.25 nan\n");
    CHECK(read_text(folder / "data" / "a.validation.dat") ==
          "# step bits_per_byte deviation_over_seeds\n2 1.5 0.707107\n");
}
