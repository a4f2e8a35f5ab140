#include "runtime/train/routing_trace.hpp"

#include <catch2/catch.hpp>

#include "runtime/checkpoint/hdf5/file_layout.hpp"
#include "runtime/checkpoint/output_file.hpp"
#include "tests/unit/runtime/run_fixture.hpp"

using namespace sy;
using namespace sy::runtime;

namespace {

/// Two micro-steps of layers 1 and 3, of which the last has one choice a token and a token without any.
RoutingTrace small_trace() {
    RoutingTrace trace{.step = 7, .experts = 4, .hidden = 16, .mixtures = {}};
    for (const index_t micro_step : {0, 1}) {
        trace.mixtures.push_back(
            {micro_step, 1, 3, 2, {0, 1, 2, 3, 3, 0}, {.5F, .25F, 1, 0, .5F, .5F}, {1, 1, 0, 1, 1, 0}});
        trace.mixtures.push_back({micro_step, 3, 2, 1, {-1, 3}, {0, 1}, {0, 1}});
    }
    return trace;
}

std::vector<std::string> names_in(const std::filesystem::path& folder) {
    std::vector<std::string> names;
    if (!std::filesystem::exists(folder)) return names;
    for (const auto& entry : std::filesystem::directory_iterator(folder))
        names.push_back(entry.path().filename());
    std::ranges::sort(names);
    return names;
}

/// This rank's part of the tokens of each mixture.
std::vector<model::RoutingRecord> part_of_rank(const RoutingTrace& trace, const comm::Communicator& world) {
    std::vector<model::RoutingRecord> parts;
    for (const model::RoutingRecord& whole : trace.mixtures) {
        const Range tokens = part_of(whole.num_tokens, world.size(), world.rank());
        const auto cut = [&](const auto& values) {
            return std::decay_t<decltype(values)>(values.begin() + tokens.begin * whole.top_k,
                                                  values.begin() + tokens.end * whole.top_k);
        };
        parts.push_back({whole.micro_step, whole.layer, tokens.size(), whole.top_k, cut(whole.expert),
                         cut(whole.weight), cut(whole.kept)});
    }
    return parts;
}

}  // namespace

TEST_CASE("routing trace: a file reads back as it was, and equal traces are equal files", "[unit]") {
    const test::TestFolder folder;
    write_routing_trace(folder / "a.h5", small_trace());
    write_routing_trace(folder / "b.h5", small_trace());
    CHECK(read_routing_trace(folder / "a.h5") == small_trace());
    CHECK(test::read_text(folder / "a.h5") == test::read_text(folder / "b.h5"));
    CHECK(names_in(folder.path()) == std::vector<std::string>{"a.h5", "b.h5"});
}

TEST_CASE("routing trace: damaged and foreign files are refused by name", "[unit]") {
    const test::TestFolder folder;
    write_routing_trace(folder / "good.h5", small_trace());
    const std::string good = test::read_text(folder / "good.h5");
    const auto check_refused = [&](const std::string& text) {
        const std::string path = folder.file("bad.h5", text);
        CHECK_THROWS_WITH(read_routing_trace(path), Catch::StartsWith(path + " is "));
    };
    for (std::size_t i = 0; i < good.size(); i += 37) {
        std::string flipped = good;
        flipped[i] = static_cast<char>(flipped[i] ^ 4);
        check_refused(flipped);
        check_refused(good.substr(0, i));
    }
    check_refused("the wagons are sorted");
    check_refused("");
    CHECK_THROWS_WITH(read_routing_trace(folder / "none.h5"), Catch::Contains("none.h5"));

    // A file with the right checksum whose contents make no sense.
    const auto check_nonsense = [&](const std::string& what, const auto& change) {
        RoutingTrace trace = small_trace();
        change(trace);
        write_routing_trace(folder / "nonsense.h5", trace);
        CHECK_THROWS_WITH(read_routing_trace(folder / "nonsense.h5"),
                          Catch::StartsWith((folder / "nonsense.h5").string()) && Catch::Contains(what));
    };
    check_nonsense("no expert", [](RoutingTrace& trace) { trace.mixtures[0].expert[2] = 4; });
    check_nonsense("not finite", [](RoutingTrace& trace) { trace.mixtures[1].weight[0] = HUGE_VALF; });
    check_nonsense("neither kept nor dropped", [](RoutingTrace& trace) { trace.mixtures[2].kept[0] = 2; });
    check_nonsense("without an expert", [](RoutingTrace& trace) { trace.mixtures[3].kept[0] = 1; });
    check_nonsense("@experts", [](RoutingTrace& trace) { trace.experts = 0; });
}

TEST_CASE("routing trace: ranks' tokens are gathered in order, whatever their number", "[unit]") {
    const int num_ranks = GENERATE(1, 2, 3, 5);
    const RoutingTrace trace = small_trace();
    comm::LocalFabric(num_ranks).run([&](comm::Communicator& world) {
        const auto all = gather_routing(world, part_of_rank(trace, world));
        SY_REQUIRE(all == (world.rank() == 0 ? trace.mixtures : std::vector<model::RoutingRecord>()), "rank ",
                   world.rank(), " of ", world.size(), " has something else");
    });
}

TEST_CASE("routing trace: ranks with fewer choices a token are filled up", "[unit]") {
    comm::LocalFabric(2).run([](comm::Communicator& world) {
        const bool is_first = world.rank() == 0;
        const model::RoutingRecord mine =
            is_first ? model::RoutingRecord{0, 1, 2, 1, {3, 2}, {.5F, 1}, {1, 0}}
                     : model::RoutingRecord{0, 1, 1, 2, {0, 1}, {.25F, .75F}, {1, 1}};
        const auto all = gather_routing(world, std::span(&mine, 1));
        const model::RoutingRecord expected{
            0, 1, 3, 2, {3, -1, 2, -1, 0, 1}, {.5F, 0, 1, 0, .25F, .75F}, {1, 0, 0, 0, 1, 1}};
        SY_REQUIRE(!is_first || all == std::vector{expected}, "choices were gathered otherwise");
    });
}

TEST_CASE("routing trace: patterns choose steps", "[unit]") {
    const auto chosen = [](const std::string& pattern) {
        REQUIRE(step_pattern_problem(pattern).empty());
        std::vector<index_t> steps;
        for (index_t step = 1; step <= 12; ++step) {
            if (is_chosen_step(pattern, step)) steps.push_back(step);
        }
        return steps;
    };
    CHECK(chosen("none").empty());
    CHECK(chosen("every:5") == std::vector<index_t>{5, 10});
    CHECK(chosen("12,3") == std::vector<index_t>{3, 12});
    for (const char* wrong : {"", "all", "0", "every:0", "every:", "3,", "3,x", "-1", "1-5"}) {
        INFO(wrong);
        const std::string problem = step_pattern_problem(wrong);
        CHECK((std::string_view(wrong) == "3," ? problem.empty()
                                               : problem.find("every:N") != std::string::npos));
    }
}

TEST_CASE("routing trace: a run writes the steps that were chosen, and what its layout is does not show",
          "[unit]") {
    const test::TestFolder folder;
    const auto run = [&](int num_ranks, const std::string& steps) {
        Config config = test::small_config(folder);
        config.run.directory = (folder / concat("run-", num_ranks, steps.size())).string();
        config.telemetry.routing_trace = steps;
        config.train.steps = 4;
        comm::LocalFabric(num_ranks).run([&](comm::Communicator& world) {
            Session session(config, world);
            train(session, "", [] { return false; });
            session.close();
        });
        return std::filesystem::path(config.run.directory);
    };
    const std::filesystem::path one = run(1, "2,4");
    CHECK(names_in(one / "routing") == std::vector<std::string>{"step-00000002.h5", "step-00000004.h5"});
    const std::filesystem::path three = run(3, "2,4");
    for (const index_t step : {2, 4}) {
        CHECK(test::read_text(routing_trace_path(one, step)) ==
              test::read_text(routing_trace_path(three, step)));
        const RoutingTrace trace = read_routing_trace(routing_trace_path(one, step));
        CHECK(trace.step == step);
        CHECK(trace.experts == 5);
        CHECK(trace.hidden == 16);
        // Two micro-steps of two layers, each of half of the step's six sequences of 16 tokens.
        REQUIRE(trace.mixtures.size() == 4);
        for (const model::RoutingRecord& mixture : trace.mixtures) CHECK(mixture.num_tokens == 48);
    }
    CHECK(names_in(run(2, "none") / "routing").empty());
}
