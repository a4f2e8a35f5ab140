// Faults of the local fabric, and how MPI's messages are cut.
#include <catch2/catch.hpp>

#include "comm/collectives.hpp"
#include "comm/local/local_fabric.hpp"
#include "comm/mpi/pieces.hpp"
#include "tests/unit/comm/conformance.hpp"

using namespace sy;
using namespace sy::comm;

namespace {

/// The text of the Thrown that the run must end with.
template <class Thrown>
std::string failure(int num_ranks, const LocalOptions& options,
                    const std::function<void(Communicator&)>& body) {
    return test::require_throws<Thrown>([&] { LocalFabric(num_ranks, options).run(body); }, "run");
}

/// The order in which 40 messages with tags of their own arrive, each sent before the next.
std::vector<int> arrivals(std::uint64_t seed, std::chrono::microseconds max_delay) {
    LocalOptions options;
    options.faults.seed = seed;
    options.faults.max_delay = max_delay;
    std::vector<int> order;
    LocalFabric(2, options).run([&](Communicator& world) {
        std::vector<std::unique_ptr<Request>> requests;
        std::vector<std::byte> bytes(40);
        for (int tag = 0; tag < 40; ++tag) {
            const auto one = std::span<std::byte>(bytes).subspan(static_cast<std::size_t>(tag), 1);
            requests.push_back(world.rank() == 0 ? world.send(one, 1, tag) : world.receive(one, 0, tag));
        }
        if (world.rank() == 0) return;
        std::vector<bool> done(40, false);
        while (order.size() < 40) {
            for (int tag = 0; tag < 40; ++tag) {
                const auto t = static_cast<std::size_t>(tag);
                if (done[t] || !requests[t]->test()) continue;
                done[t] = true;
                order.push_back(tag);
            }
        }
    });
    return order;
}

}  // namespace

TEST_CASE("local fabric: late messages of different tags overtake each other", "[unit][fault]") {
    // A receiver that gets no core until all have come sees them in the order of its questions: then they come later.
    std::vector<int> order;
    for (std::chrono::milliseconds delay{20}; delay < std::chrono::seconds(30); delay *= 4) {
        order = arrivals(5, delay);
        if (!std::is_sorted(order.begin(), order.end())) break;
    }
    CHECK_FALSE(std::is_sorted(order.begin(), order.end()));
    CHECK(order.size() == 40);
}

TEST_CASE("local fabric: a failing rank releases the others and its error is the one reported",
          "[unit][fault]") {
    LocalOptions options;
    for (int rank = 0; rank < 4; ++rank) {
        for (const index_t operation : {0, 3, 7}) {
            options.faults.failing_rank = rank;
            options.faults.failing_operation = operation;
            const std::string text = failure<CommError>(4, options, [](Communicator& world) {
                for (int i = 0; i < 10; ++i) barrier(world);
            });
            CHECK(text == concat("rank ", rank, " fails at operation ", operation, ", as the test asked"));
        }
    }
}

TEST_CASE("local fabric: whoever waits for a rank that failed is told so", "[unit][fault]") {
    std::string told;
    const std::string text = failure<IoError>(2, {}, [&](Communicator& world) {
        if (world.rank() == 1) throw IoError("the disk is full");
        told = test::require_throws<CommError>([&] { barrier(world); }, "barrier");
        throw CommError(told);
    });
    CHECK(text == "the disk is full");
    CHECK(told == "rank 1 has failed: nothing more will come from it");
}

TEST_CASE("local fabric: every case of the suites ends when a rank fails in it", "[unit][fault]") {
    for (const test::ConformanceCase& one : test::all_cases()) {
        for (const index_t operation : {0, 5}) {
            INFO(one.name << ", operation " << operation);
            LocalOptions options;
            options.faults.failing_rank = 1;
            options.faults.failing_operation = operation;
            options.settings.deadline = std::chrono::seconds(20);
            try {
                LocalFabric(3, options).run(one.run);
                // Cases with fewer operations than that pass.
            } catch (const TimeoutError& error) {
                FAIL(error.what());
            } catch (const CommError& error) {
                CHECK(std::string(error.what()) ==
                      concat("rank 1 fails at operation ", operation, ", as the test asked"));
            } catch (const LogicError& error) {
                // A case that expects another error and meets this one.
                SUCCEED(error.what());
            }
        }
    }
}

TEST_CASE("local fabric: a message that nobody received fails the run", "[unit]") {
    const std::string text = failure<LogicError>(2, {}, [](Communicator& world) {
        if (world.rank() == 0) static_cast<void>(world.send({}, 1, 12));
    });
    CHECK(text.find("1 messages from rank 0 to rank 1 with tag 12 were never received") != std::string::npos);
    CHECK_THROWS_AS(LocalFabric(0), LogicError);
}

TEST_CASE("collectives: more addends than one word can hold are summed without overflow", "[unit]") {
    // Each addend takes 39 bits of a word of 63, so 2^24 of them would overflow it.
    constexpr std::size_t kAddends = (std::size_t{1} << 24) + 8;
    const std::vector<double> addends(kAddends, 0x1.fffffcp0);
    LocalFabric(1).run([&](Communicator& world) {
        const double sum = reproducible_sum(world, addends);
        SY_REQUIRE(sum == static_cast<double>(kAddends) * 0x1.fffffcp0, "the sum is ", sum);
    });
}

TEST_CASE("MPI pieces: cover the message in order, and the last tells its end", "[unit]") {
    constexpr index_t kGiga = index_t{1} << 30;
    for (const index_t piece_bytes : {index_t{1}, index_t{7}, kGiga, (index_t{1} << 31) - 1}) {
        for (const index_t multiple : {0, 1, 2, 5}) {
            for (const index_t rest : {-1, 0, 1, 3}) {
                const index_t bytes = multiple * piece_bytes + rest;
                if (bytes < 0) continue;
                INFO(bytes << " bytes in pieces of " << piece_bytes);
                const index_t count = comm::detail::num_pieces(bytes, piece_bytes);
                index_t next = 0;
                for (index_t i = 0; i < count; ++i) {
                    const Range piece = comm::detail::piece_of(bytes, piece_bytes, i);
                    CHECK(piece.begin == next);
                    next = piece.end;
                    CHECK((i + 1 < count ? piece.size() == piece_bytes : piece.size() < piece_bytes));
                }
                CHECK(next == bytes);
            }
        }
    }
    // Beyond what an int counts, in bytes and in number.
    CHECK(comm::detail::num_pieces((index_t{5} << 40) + 3, kGiga) == 5121);
    CHECK(comm::detail::piece_of((index_t{5} << 40) + 3, kGiga, 5120) ==
          Range{index_t{5} << 40, (index_t{5} << 40) + 3});
    CHECK(comm::detail::num_pieces(index_t{1} << 33, 1) == (index_t{1} << 33) + 1);
    CHECK(comm::detail::piece_of(index_t{1} << 33, 2, index_t{1} << 31) ==
          Range{index_t{1} << 32, (index_t{1} << 32) + 2});
}
