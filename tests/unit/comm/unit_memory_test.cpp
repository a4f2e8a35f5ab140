// Memory that ranks of a node share: what one writes the others read, and every way in which it can fail. Here ranks are
// threads; tests/multirank/comm_conformance shares memory between processes.
#include <catch2/catch.hpp>

#include <atomic>
#include <cstring>

#include "comm/collectives.hpp"
#include "comm/local/local_fabric.hpp"
#include "comm/shared/shared_segment.hpp"
#include "comm/shared/unit_memory.hpp"
#include "tests/support/process_memory.hpp"
#include "tests/support/session.hpp"

using namespace sy;
using namespace sy::comm;

namespace {

/// More than any /dev/shm has.
constexpr index_t kTooMuch = index_t{1} << 40;

Units pairs_of(int num_ranks) {
    Topology topology;
    for (int rank = 0; rank < num_ranks; ++rank) topology.node_of_rank.push_back(rank / 2);
    return Units(ExchangeKind::hierarchical, topology);
}

LocalOptions with_deadline(int milliseconds) {
    LocalOptions options;
    options.settings.deadline = std::chrono::milliseconds(milliseconds);
    return options;
}

}  // namespace

TEST_CASE("shared segment: whoever knows the name sees the same bytes, until it is forgotten", "[unit]") {
    const std::string name = SharedSegment::new_name();
    CHECK(name != SharedSegment::new_name());
    const std::shared_ptr<SharedSegment> mine = SharedSegment::create(name, 8192);
    mine->reserve({0, 8192});
    CHECK(std::all_of(mine->data(), mine->data() + 8192, [](std::byte b) { return b == std::byte{0}; }));
    const std::shared_ptr<SharedSegment> theirs = SharedSegment::open(name, 8192);
    mine->data()[5000] = std::byte{7};
    CHECK(theirs->data()[5000] == std::byte{7});
    CHECK_THROWS_WITH(SharedSegment::create(name, 8192), Catch::Contains("creating shared memory " + name));
    mine->unlink();
    const std::string other = SharedSegment::new_name();
    CHECK_THROWS_WITH(SharedSegment::open(other, 4096), Catch::Contains("opening shared memory " + other));
}

TEST_CASE("shared segment: memory that is not there is refused with the room there is", "[unit]") {
    const auto attempt = [] {
        const std::shared_ptr<SharedSegment> huge =
            SharedSegment::create(SharedSegment::new_name(), kTooMuch);
        huge->unlink();
        huge->reserve({0, kTooMuch});
    };
    CHECK_THROWS_WITH(attempt(), Catch::Contains("of 1099511627776 bytes") &&
                                     Catch::Contains("/dev/shm has") &&
                                     Catch::Contains("use parallel.exchange = flat"));
}

TEST_CASE("unit memory: what a member writes the others of its unit read, and nobody else", "[unit]") {
    LocalFabric(5).run([](Communicator& world) {
        test::TestSession session(1);
        const Units units = pairs_of(5);
        UnitMemory memory(world, units, session.device);
        for (int round = 0; round < 20; ++round) {
            // The same room, again and again.
            Tensor values = memory.allocate(DType::i32, {units.num_ranks(), 100});
            memory.meet("room");
            const int rank = world.rank();
            for (std::int32_t& value : values.matrix<std::int32_t>().row_span(rank))
                value = 1000 * round + rank;
            memory.meet("values");
            for (const int member : units.members_of(units.unit_of(rank)))
                for (const std::int32_t value : values.matrix<std::int32_t>().row_span(member))
                    SY_REQUIRE(value == 1000 * round + member, "rank ", rank, " read ", value);
        }
        // The fifth rank is alone: its memory is its own.
        SY_REQUIRE((memory.reserved_bytes() == 0) == (world.rank() == 4), memory.reserved_bytes());
    });
}

TEST_CASE("unit memory: what the members say that they have taken is what the system says", "[unit]") {
    LocalFabric(3).run([](Communicator& world) {
        test::TestSession session(1);
        const Units units(ExchangeKind::hierarchical, Topology{PerRank<int>(3, 0)});
        UnitMemory memory(world, units, session.device);
        // Not a whole number of pages, and more than a slab.
        constexpr index_t kBytes = (index_t{5} << 20) + 100;
        Buffer room = memory.allocate(kBytes);
        memory.meet("room");
        if (world.rank() == 0) std::memset(room.data(), 1, static_cast<std::size_t>(kBytes));
        memory.meet("bytes");
        index_t taken = memory.reserved_bytes();
        SY_REQUIRE(taken > kBytes / 4, "rank ", world.rank(), " has taken ", taken);
        all_reduce(world, std::span<index_t>(&taken, 1));
        // The ranks are threads: each segment is mapped once.
        const index_t mapped = test::mapped_bytes("/switchyard-", "Size");
        const index_t resident = test::mapped_bytes("/switchyard-", "Rss");
        SY_REQUIRE(taken == mapped, "ranks have taken ", taken, " bytes, of which ", mapped, " are mapped");
        SY_REQUIRE(resident >= kBytes && resident <= taken, resident, " of ", taken, " bytes are resident");
        memory.meet("the end");
    });
}

TEST_CASE("unit memory: members that do not allocate alike are found out", "[unit]") {
    const auto attempt = [] {
        LocalFabric(2).run([](Communicator& world) {
            test::TestSession session(1);
            UnitMemory memory(world, pairs_of(2), session.device);
            const Buffer buffer = memory.allocate(world.rank() == 0 ? 100 : 1000);
            memory.meet("a test");
        });
    };
    CHECK_THROWS_WITH(attempt(), Catch::Contains("they have not allocated alike"));
}

TEST_CASE("unit memory: a member that does not come is named at the deadline", "[unit]") {
    const auto attempt = [] {
        LocalFabric(4, with_deadline(100)).run([](Communicator& world) {
            test::TestSession session(1);
            UnitMemory memory(world, pairs_of(4), session.device);
            if (world.rank() != 3) memory.meet("a test");
        });
    };
    CHECK_THROWS_AS(attempt(), TimeoutError);
    CHECK_THROWS_WITH(attempt(), Catch::Contains("a test on world rank 2 of 4") &&
                                     Catch::Contains("ranks that share this node's memory: 3"));
}

TEST_CASE("unit memory: a member that fails releases the others", "[unit]") {
    const auto attempt = [] {
        LocalFabric(2).run([](Communicator& world) {
            test::TestSession session(1);
            UnitMemory memory(world, pairs_of(2), session.device);
            if (world.rank() == 1) throw CommError("as the test asked");
            memory.meet("a test");
        });
    };
    CHECK_THROWS_WITH(attempt(), Catch::Contains("as the test asked"));
}

TEST_CASE("unit memory: no room is an error of every member", "[unit]") {
    std::atomic<int> refused{0};
    LocalFabric(4).run([&](Communicator& world) {
        test::TestSession session(1);
        UnitMemory memory(world, pairs_of(4), session.device);
        try {
            memory.allocate(kTooMuch);
        } catch (const IoError& error) {
            SY_REQUIRE(std::strstr(error.what(), "shared memory") != nullptr, error.what());
            ++refused;
        }
    });
    CHECK(refused == 4);
}
