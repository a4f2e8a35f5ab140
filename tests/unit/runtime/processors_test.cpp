// How many threads a rank has: what it may run on, shared with the ranks that may run there too.
#include <catch2/catch.hpp>

#include <algorithm>

#include "runtime/train/processors.hpp"
#include "tests/support/one_processor.hpp"
#include "tests/unit/runtime/run_fixture.hpp"

using namespace sy;
using namespace sy::runtime;

namespace {

std::vector<int> shares(const std::vector<std::string>& masks) {
    std::vector<int> result;
    for (std::size_t own = 0; own < masks.size(); ++own) result.push_back(processor_share(masks, own));
    return result;
}

}  // namespace

TEST_CASE("processors: each is divided among the ranks that may run on it", "[unit]") {
    using Shares = std::vector<int>;
    CHECK(shares({"11111111"}) == Shares{8});
    CHECK(shares({"11111111", "11111111"}) == Shares{4, 4});
    CHECK(shares({"11111111", "11111111", "11111111"}) == Shares{2, 2, 2});
    CHECK(shares({"1111", "00001111"}) == Shares{4, 4});
    CHECK(shares({"1", "01"}) == Shares{1, 1});
    // One rank is bound to two processors that the other may use too.
    CHECK(shares({"11", "11111111"}) == Shares{1, 7});
    // More ranks than processors.
    CHECK(shares({"1", "1", "1"}) == Shares{1, 1, 1});
    CHECK(shares({"111", "111", "111"}) == Shares{1, 1, 1});
}

TEST_CASE("processors: a rank has one thread where it may run on one, whatever the machine has", "[unit]") {
    const test::TestFolder folder;
    Config config = test::small_config(folder);
    config.parallel.threads = 0;
    const auto threads_on = [&](int ranks) {
        std::vector<int> threads(static_cast<std::size_t>(ranks));
        comm::LocalFabric(ranks).run([&](comm::Communicator& world) {
            Session session(config, world);
            threads[static_cast<std::size_t>(world.rank())] = session.context().device.num_threads();
            session.close();
        });
        return threads;
    };
    const std::string free = allowed_processors();
    const auto count = static_cast<int>(std::ranges::count(free, '1'));
    CHECK(threads_on(1) == std::vector<int>{count});
    const test::OnOneProcessor bound;
    const std::string mask = allowed_processors();
    CHECK(std::ranges::count(mask, '1') == 1);
    CHECK(mask.back() == '1');
    CHECK(threads_on(1) == std::vector<int>{1});
    CHECK(threads_on(2) == std::vector<int>{1, 1});
}

TEST_CASE("processors: threads that take turns are noted, and what mpirun keeps from its ranks", "[unit]") {
    CHECK(processor_note({.threads = 4, .allowed = 4, .allowed_on_node = 8, .on_node = 8, .by_mpirun = true})
              .empty());
    CHECK(processor_note({.threads = 1, .allowed = 1, .allowed_on_node = 1, .on_node = 64}).empty());
    CHECK(processor_note(
              {.threads = 1, .allowed = 1, .allowed_on_node = 2, .on_node = 64, .by_mpirun = true}) ==
          "the ranks of this node may run on 2 of its 64 processors; if the job has more, start mpirun with "
          "--bind-to none, as jobs/launch does");
    CHECK(processor_note(
              {.threads = 8, .allowed = 1, .allowed_on_node = 2, .on_node = 64, .by_mpirun = true}) ==
          "this rank has 8 threads and may run on 1 processor, where they take turns; start mpirun with "
          "--bind-to "
          "none, as jobs/launch does, or lower parallel.threads");
    CHECK_THAT(processor_note({.threads = 8, .allowed = 2, .allowed_on_node = 2, .on_node = 2}),
               Catch::Contains("give each rank more of them"));
}

TEST_CASE("processors: a control group's quota is read, and none is none", "[unit]") {
    CHECK(processor_quota("150000 100000\n") == 1.5);
    for (const char* const text : {"max 100000\n", "", "100000", "0 100000", "-1 100000", "100000 0"})
        CHECK_FALSE(processor_quota(text));
}
