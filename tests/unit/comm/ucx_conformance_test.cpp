// The conformance suites on UCX between threads, each with a worker of its own.
#include <catch2/catch.hpp>

#include <cstring>

#include "comm/collectives.hpp"
#include "comm/local/local_fabric.hpp"
#include "comm/ucx/ucx_communicator.hpp"
#include "kernels/core/arena.hpp"
#include "tests/support/process_memory.hpp"
#include "tests/unit/comm/conformance.hpp"

using namespace sy;
using namespace sy::comm;

namespace {

/// A fabric that connects the ranks; as many as share a node by its account.
LocalOptions nodes_of(int ranks_per_node) {
    LocalOptions options;
    options.ranks_per_node = ranks_per_node;
    return options;
}

void run_on(int num_ranks, int ranks_per_node, std::span<const test::ConformanceCase> cases,
            std::chrono::milliseconds deadline) {
    INFO(num_ranks << " ranks, " << ranks_per_node << " a node");
    CHECK_NOTHROW(LocalFabric(num_ranks, nodes_of(ranks_per_node)).run([&](Communicator& wire_up) {
        const std::unique_ptr<Communicator> world =
            connect_ucx(wire_up, {.deadline = deadline, .name = "world"});
        for (const test::ConformanceCase& one : cases) {
            try {
                one.run(*world);
            } catch (const Error& error) {
                throw CommError(concat(one.name, ": ", error.what()));
            }
        }
        // The deadline is not one for closing.
        barrier(wire_up);
        if (deadline > std::chrono::seconds(1)) world->close();
    }));
}

constexpr std::size_t kBytes = 300000;

}  // namespace

TEST_CASE("ucx: conforms where ranks share memory", "[unit]") {
    run_on(GENERATE(1, 2, 3, 4), 0, test::all_cases(), std::chrono::seconds(60));
}

TEST_CASE("ucx: conforms between nodes", "[unit]") {
    run_on(2, 1, test::all_cases(), std::chrono::seconds(60));
    run_on(4, 2, test::all_cases(), std::chrono::seconds(60));
}

TEST_CASE("ucx: keeps deadlines", "[unit]") {
    run_on(GENERATE(1, 2, 3), 0, test::deadline_cases(), std::chrono::milliseconds(300));
}

TEST_CASE("ucx: rows that are received into slabs of an arena are put there", "[unit]") {
    LocalFabric(2, nodes_of(GENERATE(0, 1))).run([](Communicator& wire_up) {
        const std::unique_ptr<Communicator> world = connect_ucx(wire_up, {.name = "world"});
        const std::unique_ptr<Communicator> part = world->split(0, -world->rank());
        {
            Arena arena(1 << 20, ucx_slabs(*part));
            for (const std::size_t size : {std::size_t{1}, std::size_t{5000}, kBytes, std::size_t{2} << 20}) {
                Buffer incoming = arena.allocate(static_cast<index_t>(size));
                const std::span<std::byte> bytes(incoming.data(), size);
                const std::vector<std::byte> outgoing = test::pattern_message(world->rank(), 3, size);
                const int other = 1 - part->rank();
                std::vector<std::unique_ptr<Request>> requests;
                requests.push_back(part->receive(bytes, other, 3));
                requests.push_back(part->send(outgoing, other, 3));
                wait_all(*part, requests, "rows");
                SY_REQUIRE(std::ranges::equal(bytes, test::pattern_message(1 - world->rank(), 3, size)),
                           "other bytes of ", size);
            }
        }
        part->close();
        world->close();
    });
}

TEST_CASE("ucx: the memory that ranks say they have is resident, and UCX's own is little beside it",
          "[unit]") {
    LocalFabric(2).run([](Communicator& wire_up) {
        constexpr index_t kRows = index_t{96} << 20;
        barrier(wire_up);
        const index_t before = test::resident_bytes();
        barrier(wire_up);
        const std::unique_ptr<Communicator> world = connect_ucx(wire_up, {.name = "world"});
        {
            Arena arena(1 << 20, ucx_slabs(*world));
            Buffer rows = arena.allocate(kRows);
            std::memset(rows.data(), 1, static_cast<std::size_t>(kRows));
            index_t said = ucx_bytes(*world);
            SY_REQUIRE(said >= kRows, "rank ", world->rank(), " says ", said);
            all_reduce(wire_up, std::span<index_t>(&said, 1));
            const index_t resident = test::resident_bytes() - before;
            constexpr index_t kUcx = index_t{48} << 20;
            SY_REQUIRE(resident >= said && resident <= said + kUcx, "ranks say ", said,
                       " bytes; resident are ", resident);
            barrier(wire_up);
        }
        world->close();
    });
}

TEST_CASE("ucx: a rank that waits for a message of another transport goes on receiving", "[unit]") {
    // More than a ring holds, so that the sender needs the receiver meanwhile; on one node and on two.
    std::vector<std::byte> outgoing(4 * kBytes, std::byte{7});
    LocalOptions options = nodes_of(GENERATE(0, 1));
    options.settings.deadline = std::chrono::seconds(5);
    LocalFabric(2, options).run([&](Communicator& wire_up) {
        const std::unique_ptr<Communicator> world =
            connect_ucx(wire_up, {.deadline = options.settings.deadline, .name = "world"});
        const std::unique_ptr<Communicator> part = wire_up.split(0, 0);
        std::vector<std::byte> incoming(outgoing.size());
        std::vector<std::unique_ptr<Request>> puts;
        if (world->rank() == 0) {
            puts.push_back(world->receive(incoming, 1, 1));
            barrier(*part);
            wait_all(*world, puts, "the message");
            SY_REQUIRE(incoming == outgoing, "other bytes");
        } else {
            puts.push_back(world->send(outgoing, 0, 1));
            wait_all(*world, puts, "the message");
            barrier(*part);
        }
        world->close();
    });
}

TEST_CASE("ucx: slabs belong to communicators of UCX", "[unit]") {
    LocalFabric(1).run([](Communicator& world) { CHECK_THROWS_AS(ucx_slabs(world), LogicError); });
}

TEST_CASE("ucx: many messages without their receives wait in bounded memory and arrive in order", "[unit]") {
    // 40 MiB of short messages; a sender may leave 8 MiB of them with its receiver.
    constexpr int kMessages = 10240;
    LocalFabric(2).run([](Communicator& wire_up) {
        const std::unique_ptr<Communicator> world = connect_ucx(wire_up, {.name = "world"});
        std::vector<std::byte> outgoing(4096, std::byte{7});
        std::vector<std::byte> incoming(4096);
        std::vector<std::unique_ptr<Request>> sends;
        if (world->rank() == 0) {
            for (int i = 0; i < kMessages; ++i) sends.push_back(world->send(outgoing, 1, 1));
            wait_all(*world, sends, "sends");
        } else {
            for (int i = 0; i < kMessages; ++i) {
                std::vector<std::unique_ptr<Request>> requests;
                requests.push_back(world->receive(incoming, 0, 1));
                wait_all(*world, requests, "receives");
                SY_REQUIRE(incoming == outgoing, "message ", i);
            }
        }
        world->close();
    });
}

TEST_CASE("ucx: a receive that is given up while its sender may write ends all traffic", "[unit]") {
    std::string text;
    LocalFabric(1).run([&](Communicator& wire_up) {
        const std::unique_ptr<Communicator> world = connect_ucx(wire_up, {.name = "world"});
        std::vector<std::byte> bytes(kBytes);
        try {
            const std::unique_ptr<Request> dropped = world->receive(bytes, 0, 1);
            throw CommError("another failure");
        } catch (const CommError&) {
            text = test::require_throws<CommError>([&] { world->send(bytes, 0, 1); }, "a send afterwards");
        }
    });
    CHECK(text.find("given up") != std::string::npos);
}
