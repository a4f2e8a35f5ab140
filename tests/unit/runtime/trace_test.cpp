// What a rank writes down for a trace, times of several clocks as one, and the words of the Trace Event Format.
#include <catch2/catch.hpp>

#include "comm/local/local_fabric.hpp"
#include "runtime/telemetry/config.hpp"
#include "runtime/telemetry/phase_timer.hpp"
#include "runtime/telemetry/trace_events.hpp"
#include "runtime/train/trace_file.hpp"
#include "tests/unit/runtime/test_folder.hpp"

using namespace sy;
using namespace sy::runtime;

namespace {

TraceEvent event_of(const char* name, std::int64_t start_ns, std::int64_t end_ns) {
    TraceEvent event;
    event.name = name;
    event.step = 7;
    event.layer = 3;
    event.start_ns = start_ns;
    event.end_ns = end_ns;
    return event;
}

Json parse_events(const std::string& text) {
    return Json::parse("[" + text + "]");
}

}  // namespace

TEST_CASE("trace log: spans nest, know their step and layer, and count what they have waited", "[unit]") {
    double waited = 0.0;
    TraceLog log;
    { const TraceSpan unseen(&log, TraceKind::compute, "before it opens"); }
    { const TraceSpan nowhere(nullptr, TraceKind::compute, "without a log"); }
    log.open([&] { return waited; });
    log.set_step(5);
    log.set_micro_step(1);
    {
        const TraceSpan outer(&log, TraceKind::phase, "outer");
        const TraceSpan inner(&log, TraceKind::wait, "inner", 2);
        waited += 0.25;
    }
    const std::vector<TraceEvent> events = log.events();
    REQUIRE(events.size() == 2);
    CHECK(std::string(events[0].name) == "inner");
    CHECK(events[0].layer == 2);
    CHECK(events[0].step == 5);
    CHECK(events[0].micro_step == 1);
    CHECK(events[0].waited_seconds == 0.25);
    CHECK(events[1].waited_seconds == 0.25);
    CHECK(events[1].start_ns <= events[0].start_ns);
    CHECK(events[0].end_ns <= events[1].end_ns);
    log.close();
    CHECK(log.events().empty());
}

TEST_CASE("trace log: beyond its capacity the earliest events go, and are counted", "[unit]") {
    TraceLog log;
    log.open([] { return 0.0; });
    for (std::size_t i = 0; i < TraceLog::kCapacity + 3; ++i)
        log.add(event_of("one", static_cast<std::int64_t>(i), static_cast<std::int64_t>(i) + 1));
    CHECK(log.num_dropped() == 3);
    const std::vector<TraceEvent> events = log.events();
    REQUIRE(events.size() == TraceLog::kCapacity);
    CHECK(events.front().start_ns == 3);
    CHECK(events.back().start_ns == static_cast<std::int64_t>(TraceLog::kCapacity) + 2);
}

TEST_CASE("trace log: background work that has not ended is shown up to now", "[unit]") {
    TraceLog log;
    CHECK(log.background_events().empty());
    log.begin_background("write shard", 4);
    const std::vector<TraceEvent> running = log.background_events();
    REQUIRE(running.size() == 1);
    CHECK(running[0].end_ns >= running[0].start_ns);
    log.end_background();
    CHECK(log.background_events()[0].end_ns >= running[0].end_ns);
    CHECK(log.background_events()[0].step == 4);
}

TEST_CASE("aligned clock: an offset that grows evenly, by hand", "[unit]") {
    // 1000 ns ahead at 0, 3000 ns ahead a millisecond later: 2 ns a microsecond.
    const AlignedClock clock({0, 1000, 10}, {1'000'000, 3000, 20});
    CHECK(clock.drift_ppm() == Approx(2000.0));
    CHECK(clock.to_rank_0(0) == 1000);
    CHECK(clock.to_rank_0(500'000) == 502'000);
    CHECK(clock.to_rank_0(1'000'000) == 1'003'000);
    CHECK(AlignedClock({5, 7, 0}, {5, 7, 0}).to_rank_0(10) == 17);
}

TEST_CASE("clock alignment: ranks of one process find the same clock, within their error", "[unit]") {
    std::vector<ClockSample> samples(3);
    comm::LocalFabric(3).run([&](comm::Communicator& world) {
        samples[static_cast<std::size_t>(world.rank())] = measure_clock(world);
    });
    for (const ClockSample& sample : samples) CHECK(std::abs(sample.offset_ns) <= sample.error_ns);
    CHECK(samples[0].error_ns == 0);
    CHECK(samples[1].error_ns > 0);
    CHECK(samples[0].at_ns <= samples[1].at_ns);
}

TEST_CASE("trace events: a span, a flight and its counter, in microseconds of rank 0", "[unit]") {
    const TraceSource source{2, "node\"7", AlignedClock({0, 1000, 10}, {0, 1000, 10}), 500};
    TraceEvent flight = event_of("dispatch", 2500, 4500);
    flight.in_flight = true;
    flight.kind = TraceKind::communication;
    flight.bytes = 640;
    const TraceEvent events[] = {event_of("attention", 1500, 1750), flight,
                                 event_of("too early", -900, -600)};
    index_t sent = 360;
    const Json all = parse_events(trace_events(source, events, kRankThread, sent));
    CHECK(sent == 1000);
    REQUIRE(all.as_array().size() == 4);
    const Json& span = all.as_array()[0];
    CHECK(span.at("ph") == Json("X"));
    CHECK(span.at("name") == Json("attention"));
    CHECK(span.at("cat") == Json("compute"));
    CHECK(span.at("pid").as_whole() == 2);
    CHECK(span.at("ts").as_number() == 2.0);
    CHECK(span.at("dur").as_number() == 0.25);
    CHECK(span.at("args").at("step").as_whole() == 7);
    CHECK(span.at("args").at("layer").as_whole() == 3);
    CHECK(all.as_array()[1].at("ph") == Json("b"));
    CHECK(all.as_array()[1].at("args").at("bytes").as_whole() == 640);
    CHECK(all.as_array()[2].at("ph") == Json("e"));
    CHECK(all.as_array()[2].at("ts").as_number() == 5.0);
    CHECK(all.as_array()[1].at("id") == all.as_array()[2].at("id"));
    CHECK(all.as_array()[3].at("ph") == Json("C"));
    CHECK(all.as_array()[3].at("args").at("bytes").as_whole() == 1000);
    CHECK(parse_events(trace_names(source)).as_array()[0].at("args").at("name") == Json("rank 2 on node\"7"));
}

TEST_CASE("trace file: all ranks in one file, which is never overwritten", "[unit]") {
    const test::TestFolder folder;
    const std::filesystem::path path = folder.path() / "run" / "trace-1-2.json";
    const auto write = [&](comm::Communicator& world) {
        RankTrace mine{{world.rank(), "here", AlignedClock({}, {}), 0}, {}, {}, 0};
        // More than one piece.
        for (int i = 0; i < 5000; ++i) mine.events.push_back(event_of("experts", 10 * i, 10 * i + 9));
        write_trace(world, path, mine, {{"first_step", 1}});
    };
    comm::LocalFabric(3).run(write);
    const Json trace = Json::parse(test::read_text(path));
    CHECK(trace.at("traceEvents").as_array().size() == 3 * (4 + 5000));
    CHECK(trace.at("otherData").at("ranks").as_array().size() == 3);
    CHECK(trace.at("otherData").at("ranks").as_array()[2].at("events").as_whole() == 5000);
    CHECK_THROWS_AS(comm::LocalFabric(2).run(write), IoError);
    CHECK(Json::parse(test::read_text(path)) == trace);
}

TEST_CASE("traced steps: one, several, none, and what is no run of steps", "[unit]") {
    for (const char* text : {"10-12", "steps 10-12"}) {
        CHECK(parse_traced_steps(text).contain(10));
        CHECK(parse_traced_steps(text).contain(12));
        CHECK_FALSE(parse_traced_steps(text).contain(13));
        CHECK(traced_steps_problem(text).empty());
    }
    CHECK(parse_traced_steps("10").last == 10);
    for (const char* text : {"", "none"}) {
        CHECK(parse_traced_steps(text).first == 0);
        CHECK(traced_steps_problem(text).empty());
    }
    for (const char* text : {"12-10", "0", "0-3", "ten", "3-", "-3", "1-2-3", "steps"})
        CHECK_FALSE(traced_steps_problem(text).empty());
}
