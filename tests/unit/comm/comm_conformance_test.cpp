// The conformance suites on ranks that are threads.
#include <catch2/catch.hpp>

#include <string_view>

#include "comm/collectives.hpp"
#include "comm/local/local_fabric.hpp"
#include "tests/unit/comm/conformance.hpp"

using namespace sy;
using namespace sy::comm;

namespace {

/// Runs the case and fails with its name, the number of ranks and what went wrong.
void run_on(int num_ranks, const LocalOptions& options, const test::ConformanceCase& one) {
    INFO(one.name << ", on " << num_ranks << " ranks");
    CHECK_NOTHROW(LocalFabric(num_ranks, options).run(one.run));
}

LocalOptions late_and_out_of_order() {
    LocalOptions options;
    options.ranks_per_node = 2;
    options.faults.max_delay = std::chrono::microseconds(200);
    return options;
}

}  // namespace

TEST_CASE("local fabric: conforms on 1, 2, 3, 4 and 8 ranks", "[unit]") {
    const int num_ranks = GENERATE(1, 2, 3, 4, 8);
    for (const test::ConformanceCase& one : test::all_cases()) run_on(num_ranks, {}, one);
}

TEST_CASE("local fabric: collectives on other numbers of ranks", "[unit]") {
    const int num_ranks = GENERATE(5, 6, 7, 9);
    for (const auto part : {test::collectives_cases(), test::reductions_cases()}) {
        for (const test::ConformanceCase& one : part) run_on(num_ranks, {}, one);
    }
}

TEST_CASE("local fabric: collectives without one of the ranks end at the deadline", "[unit]") {
    struct Collective {
        std::string name;
        void (*run)(Communicator& world);
    };
    const auto one = GENERATE(
        Collective{"all_reduce",
                   [](Communicator& world) {
                       float value = 1;
                       all_reduce(world, std::span<float>(&value, 1));
                   }},
        Collective{"exscan",
                   [](Communicator& world) {
                       index_t value = 1;
                       exscan(world, std::span<index_t>(&value, 1));
                   }},
        Collective{"all_gather", [](Communicator& world) { all_gather(world, std::string(1, 'a')); }},
        Collective{"barrier", [](Communicator& world) { barrier(world); }});
    LocalOptions options;
    options.settings.deadline = std::chrono::milliseconds(50);
    const int num_ranks = GENERATE(2, 3, 5);
    const auto first_stays_away = [&](Communicator& world) {
        if (world.rank() > 0) one.run(world);
    };
    INFO(one.name << " on " << num_ranks << " ranks");
    CHECK_THROWS_WITH(LocalFabric(num_ranks, options).run(first_stays_away),
                      Catch::StartsWith(one.name + " on world rank ") && Catch::Contains("receive of "));
}

TEST_CASE("local fabric: conforms when messages are late and overtake each other", "[unit]") {
    const int num_ranks = GENERATE(2, 3, 8);
    for (const test::ConformanceCase& one : test::all_cases())
        run_on(num_ranks, late_and_out_of_order(), one);
}

TEST_CASE("local fabric: keeps deadlines", "[unit]") {
    const int num_ranks = GENERATE(1, 2, 4);
    LocalOptions options;
    options.settings.deadline = std::chrono::milliseconds(100);
    for (const test::ConformanceCase& one : test::deadline_cases()) run_on(num_ranks, options, one);
}

TEST_CASE("local fabric: lost messages end an exchange with an error or not at all, never with another sum",
          "[unit][fault]") {
    LocalOptions options = late_and_out_of_order();
    options.settings.deadline = std::chrono::milliseconds(400);
    options.faults.lost_share = 0.0005F;
    int num_lost = 0;
    int num_whole = 0;
    for (std::uint64_t seed = 1; seed <= 12; ++seed) {
        options.faults.seed = seed;
        for (const test::ConformanceCase& one : test::exchange_cases()) {
            if (std::string_view(one.name).find("in float and bf16") == std::string_view::npos &&
                std::string_view(one.name).find("do not mix") == std::string_view::npos)
                continue;
            INFO(one.name << ", seed " << seed);
            try {
                LocalFabric(4, options).run(one.run);
                ++num_whole;
            } catch (const TimeoutError&) {
                ++num_lost;
            } catch (const CommError& error) {
                FAIL("not what a lost message is: " << error.what());
            } catch (const LogicError& error) {
                FAIL("another sum: " << error.what());
            }
        }
    }
    CHECK(num_lost > 0);
    CHECK(num_whole > 0);
}
