#include <catch2/catch.hpp>

#include <sys/stat.h>

#include <cmath>
#include <fstream>
#include <limits>

#include "kernels/core/error.hpp"
#include "runtime/report/axis.hpp"
#include "runtime/report/load_history.hpp"
#include "runtime/report/markup.hpp"
#include "runtime/report/page.hpp"
#include "runtime/report/run_story.hpp"
#include "tests/unit/runtime/test_folder.hpp"

using namespace sy;
using namespace sy::runtime;
using sy::test::read_text;
using sy::test::TestFolder;

namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

std::size_t count(const std::string& text, const std::string& part) {
    std::size_t found = 0;
    for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++found;
    return found;
}

LinePlot plot_of(Series series) {
    LinePlot plot;
    plot.title = "plot";
    plot.series.push_back(std::move(series));
    return plot;
}

std::vector<std::string> labels(const PlacedAxis& axis) {
    std::vector<std::string> texts;
    for (const Tick& tick : axis.ticks()) texts.push_back(tick.label);
    return texts;
}

PlacedAxis axis_of(Scale scale, const std::vector<double>& values) {
    Axis axis;
    axis.scale = scale;
    return PlacedAxis(axis, values, Ends::ticks, 0.0, 100.0);
}

}  // namespace

TEST_CASE("page: text is escaped, whatever it is", "[unit]") {
    CHECK(escape("a<b>&\"c'") == "a&lt;b&gt;&amp;&quot;c&#39;");
    // A control character, a byte that is no UTF-8, and a character that XML does not allow.
    CHECK(escape("\x01\xFF\xEF\xBF\xBF") == "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD");
    CHECK(escape("\xC3\xA9\n\t") == "\xC3\xA9\n\t");
}

TEST_CASE("page: numbers for people have four digits", "[unit]") {
    CHECK(short_number(0.0) == "0");
    CHECK(short_number(-0.12345) == "-0.1235");
    CHECK(short_number(9999.0) == "9999");
    CHECK(short_number(12500.0) == "12.5k");
    CHECK(short_number(3.2e-5) == "3.2e-5");
    CHECK(short_number(1e300) == "1e300");
    CHECK(short_number(kNaN) == "nan");
    CHECK(short_number(-std::numeric_limits<double>::infinity()) == "-inf");
}

TEST_CASE("page: ticks are round numbers around the values", "[unit]") {
    CHECK(labels(axis_of(Scale::linear, {0.3, 9.7})) ==
          std::vector<std::string>{"0", "2", "4", "6", "8", "10"});
    CHECK(labels(axis_of(Scale::linear, {1.4e6, 2.2e6})).front() == "1.4M");
    CHECK(labels(axis_of(Scale::log2, {1.0, 8.0})) == std::vector<std::string>{"1", "2", "4", "8"});
    CHECK(labels(axis_of(Scale::log10, {1e-4, 1e2})).size() >= 4);
    // Values that are all the same, none, and those at the ends of what doubles hold.
    CHECK(axis_of(Scale::linear, {5.0, 5.0}).ticks().size() > 1);
    CHECK(axis_of(Scale::linear, {kNaN}).ticks().size() > 1);
    CHECK(axis_of(Scale::log2, {-1.0}).ticks().size() > 1);
    CHECK(axis_of(Scale::linear, {-1e300, 1e300}).ticks().size() > 1);
    CHECK(axis_of(Scale::log10, {5e-300, 1e300}).ticks().size() > 1);
    CHECK(axis_of(Scale::linear, {1e9, 1e9 + 1e-3}).ticks().size() < 20);
    const PlacedAxis axis = axis_of(Scale::linear, {0.0, 10.0});
    CHECK(axis.place(2.5) == Approx(25.0));
    CHECK_FALSE(axis.has(kNaN));
    CHECK_FALSE(axis_of(Scale::log2, {1.0}).has(0.0));
}

TEST_CASE("page: a long series is thinned, but a spike of a single step is drawn", "[unit]") {
    Series series;
    for (int i = 0; i < 20000; ++i) {
        series.x.push_back(i);
        series.y.push_back(i == 12345 ? 40.0 : i == 777 ? -40.0 : std::sin(i));
    }
    const std::string drawn = figure(plot_of(series));
    const std::string path = drawn.substr(drawn.rfind("<path class=\"line c0\""));
    CHECK(count(path, "L") < 4000);
    // The axis goes from -40 to 40, from the bottom of the frame to its top.
    CHECK(count(path, " 22L") == 1);
    CHECK(count(path, " 216L") == 1);
}

TEST_CASE("page: what is not finite is a gap that is counted", "[unit]") {
    Series series;
    series.x = {1, 2, 3, 4, 5, 6};
    series.y = {1, 2, kNaN, std::numeric_limits<double>::infinity(), 3, 1};
    const std::string drawn = figure(plot_of(series));
    const std::string path = drawn.substr(drawn.rfind("<path class=\"line c0\""));
    CHECK(count(path, "M") == 2);
    CHECK(count(drawn, "2 values are not finite and left out.") == 1);
    series.y = {kNaN, kNaN, kNaN, kNaN, kNaN, kNaN};
    CHECK(count(figure(plot_of(series)), "There are no values to draw.") == 1);
    series.y.pop_back();
    CHECK_THROWS_AS(figure(plot_of(series)), ShapeError);
}

TEST_CASE("page: a predicted series is dashed and says so", "[unit]") {
    Series series;
    series.name = "model";
    series.x = {1, 2};
    series.y = {1, 2};
    series.low = {0.5, 1.5};
    series.high = {1.5, 2.5};
    series.origin = Origin::predicted;
    const std::string drawn = figure(plot_of(series));
    CHECK(count(drawn, "model (predicted)") == 1);
    // The line, and its key in the legend.
    CHECK(count(drawn, "<path class=\"line c0 predicted\" d=\"M") == 2);
    CHECK(count(drawn, "<path class=\"interval c0 predicted\"") == 1);
}

TEST_CASE("page: bars are as high as their parts, and a map has a colour for every value", "[unit]") {
    BarPlot bars;
    bars.bars = {"1", "<2>"};
    bars.parts = {{"compute", {1.0, 0.5}}, {"wait", {0.25, kNaN}}};
    const std::string drawn = figure(bars);
    CHECK(count(drawn, "<rect") == 3);
    CHECK(count(drawn, ">1.25</text>") == 1);
    CHECK(count(drawn, "&lt;2&gt;, compute: 0.5") == 1);
    CHECK(count(drawn, "1 value is not finite") == 1);
    HeatMap map;
    map.columns = {"a", "b"};
    map.rows = {"x", "y"};
    map.values = {0.0, 1.0, 2.0, kNaN};
    const std::string cells = figure(map);
    CHECK(count(cells, "<path class=\"cells\"") == 3);
    CHECK(count(cells, "<path class=\"missing\"") == 1);
    map.values.pop_back();
    CHECK_THROWS_AS(figure(map), ShapeError);
}

TEST_CASE("page: a page takes the place of a page, and of nothing else", "[unit]") {
    const TestFolder folder;
    const auto path = folder / "page.html";
    write_page(path, Page("first"));
    CHECK(count(read_text(path), "<h1>first</h1>") == 1);
    write_page(path, Page("second"));
    CHECK(count(read_text(path), "<h1>second</h1>") == 1);
    const auto notes = folder / "notes.html";
    std::ofstream(notes) << "<!DOCTYPE html>\nmine\n";
    CHECK_THROWS_AS(write_page(notes, Page("x")), ConfigError);
    CHECK(read_text(notes) == "<!DOCTYPE html>\nmine\n");
    // A pipe would be waited for.
    REQUIRE(::mkfifo((folder / "pipe").c_str(), 0600) == 0);
    CHECK_THROWS_AS(write_page(folder / "pipe", Page("x")), ConfigError);
    CHECK_THROWS_AS(write_page(folder / "none" / "page.html", Page("x")), IoError);
    // Nothing else is left behind.
    CHECK(std::distance(std::filesystem::directory_iterator(folder.path()), {}) == 3);
}

TEST_CASE("page: entropy of loads is 1 for equal shares and 0 for one expert", "[unit]") {
    CHECK(load_entropy({3.0, 3.0, 3.0, 3.0}) == Approx(1.0));
    CHECK(load_entropy({0.0, 7.0}) == 0.0);
    // -(0.25 ln 0.25 + 0.75 ln 0.75) / ln 2
    CHECK(load_entropy({1.0, 3.0}) == Approx(0.8112781245));
    CHECK(std::isnan(load_entropy({0.0, 0.0})));
    CHECK(over_mean({1.0, 3.0}) == std::vector<double>{0.5, 1.5});
}

TEST_CASE("page: loads of a long run are kept in spans that lose none of them", "[unit]") {
    LoadHistory history;
    double sum = 0.0;
    for (index_t step = 1; step <= 1000; ++step) {
        history.add(step, {4}, {{static_cast<double>(step), 1.0}});
        sum += static_cast<double>(step);
    }
    double kept = 0.0;
    index_t next = 1;
    for (const LoadSpan& span : history.spans()) {
        CHECK(span.first_step == next);
        next = span.last_step + 1;
        kept += span.loads[0][0];
    }
    CHECK(next == 1001);
    CHECK(kept == sum);
    CHECK(history.spans().size() <= 64);
    CHECK(history.last_steps().first_step == 901);
    CHECK(history.last_steps().loads[0][1] == 100.0);
    // A run that went back to step 951: what came later is not counted twice.
    history.add(951, {4}, {{0.0, 1.0}});
    CHECK(history.last_steps().last_step == 951);
    CHECK(history.last_steps().loads[0][1] == 51.0);
    // Another model's.
    history.add(952, {4}, {{0.0, 1.0, 2.0}});
    CHECK(history.last_steps().last_step == 951);
}

TEST_CASE("page: a run's story has its steps, restarts, skipped steps, jobs and what was set aside",
          "[unit]") {
    const TestFolder folder;
    const auto step = [](int number, const char* applied) {
        return concat("{\"type\":\"step\",\"step\":", number,
                      ",\"token_loss\":2.5,\"targets\":10,\"tokens\":10,\"seconds\":2,\"applied\":", applied,
                      ",\"dropped\":1,\"imbalance\":1.5,\"phases\":{\"data\":0.5,\"communication\":0.5},"
                      "\"layers\":[{\"layer\":0,\"load\":[1,3]}]}\n");
    };
    {
        std::ofstream file(folder / "metrics.jsonl");
        file << "{\"type\":\"run\",\"first_step\":1,\"config\":{\"moe\":{\"experts\":2,\"router\":\"hash\"}}}"
                "\n"
             << step(1, "true") << step(2, "false") << "{\"type\":\"step\",\"st\n"
             << "{\"type\":\"eval\",\"step\":2,\"loss\":2.25}\n{\"type\":\"checkpoint\",\"step\":2}\n"
             << "{\"type\":\"run\",\"first_step\":3,\"layout\":\"2 ranks\"}\n"
             << step(3, "true") << "{\"type\":\"end\",\"step\":3,\"stopped_early\":true}\n";
        std::ofstream(folder / "jobs.jsonl")
            << "{\"type\":\"start\",\"job\":\"7\",\"time\":0,\"from_step\":0,\"nodes\":2,\"ranks\":4}\n";
        std::filesystem::create_directory(folder / "aside-1");
        std::ofstream(folder / "aside-1" / "metrics.jsonl") << step(3, "true") << step(4, "true");
    }
    const RunStory story = read_story(folder.path(), "name");
    REQUIRE(story.steps.size() == 3);
    CHECK(story.steps[2].tokens == 30.0);
    CHECK(story.steps[0].entropy == Approx(0.8112781245));
    CHECK(story.steps[0].dropped == 25.0);
    CHECK(story.steps[0].waiting == 25.0);
    REQUIRE(story.validations.size() == 1);
    CHECK(story.validations[0].tokens == 20.0);
    CHECK(story.launches.size() == 2);
    CHECK(story.settings.empty());  // the second start said nothing of them
    std::vector<EventKind> kinds;
    for (const RunEvent& event : story.events) kinds.push_back(event.kind);
    CHECK(kinds == std::vector<EventKind>{EventKind::job, EventKind::checkpoint, EventKind::skipped,
                                          EventKind::restart, EventKind::stop, EventKind::aside});
    CHECK(story.events.back().text == "aside-1: steps 3 to 4");
    CHECK(story.events.front().text.starts_with("job 7, restart 0, 1970-01-01 00:00 UTC"));
}
