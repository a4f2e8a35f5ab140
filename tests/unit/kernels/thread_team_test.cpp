// The threads of a rank: every task once, failures to the caller, and polling between tasks.
#include <catch2/catch.hpp>

#include <atomic>
#include <chrono>
#include <stdexcept>
#include <thread>

#include "kernels/core/indexed.hpp"
#include "kernels/core/thread_team.hpp"

using namespace sy;

namespace {

struct TaskAxis;
using Counts = Indexed<TaskAxis, std::atomic<int>>;

}  // namespace

TEST_CASE("thread team: every task runs once, and what one throws reaches the caller", "[unit]") {
    const int num_threads = GENERATE(1, 2, 4);
    ThreadTeam team(num_threads);
    for (const index_t num_tasks : {0, 1, 2, 100}) {
        Counts counts(num_tasks);
        team.for_tasks(num_tasks, [&](index_t task_idx, int) { ++counts[task_idx]; });
        for (index_t task_idx = 0; task_idx < num_tasks; ++task_idx) CHECK(counts[task_idx] == 1);
    }
    CHECK_THROWS_WITH(team.for_tasks(10,
                                     [](index_t task_idx, int) {
                                         if (task_idx == 7) throw std::runtime_error("task 7");
                                     }),
                      "task 7");
}

TEST_CASE("thread team: the calling thread polls between tasks, at most once an interval", "[unit]") {
    const int num_threads = GENERATE(1, 2);
    ThreadTeam team(num_threads);
    const std::thread::id caller = std::this_thread::get_id();
    int num_polls = 0;
    team.set_poll(
        [&] {
            ++num_polls;
            CHECK(std::this_thread::get_id() == caller);
        },
        std::chrono::microseconds(0));
    // Tasks long enough for the caller to take some of them.
    team.for_tasks(100, [](index_t, int) { std::this_thread::sleep_for(std::chrono::microseconds(50)); });
    CHECK(num_polls > 0);
    CHECK(num_polls <= 100);
    num_polls = 0;
    team.set_poll([&] { ++num_polls; }, std::chrono::hours(1));
    for (int round = 0; round < 5; ++round) team.for_tasks(100, [](index_t, int) {});
    CHECK(num_polls <= 1);
    team.set_poll([] { throw std::runtime_error("a rank has failed"); }, std::chrono::microseconds(0));
    CHECK_THROWS_WITH(
        team.for_tasks(100, [](index_t, int) { std::this_thread::sleep_for(std::chrono::microseconds(50)); }),
        "a rank has failed");
}
