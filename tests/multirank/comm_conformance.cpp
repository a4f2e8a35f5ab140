// The conformance suites on MPI's communicator, and collectives against the library's own.
//   mpirun -n N comm_conformance [huge|ucx]
// huge: only a message of more than 2^31 bytes, which needs 5 GiB on two ranks. ucx: the suites on UCX's communicator.
#include <mpi.h>

#include <cstdio>
#include <limits>
#include <numeric>
#include <type_traits>

#include "comm/collectives.hpp"
#include "comm/mpi/check.hpp"
#include "comm/mpi/mpi_session.hpp"
#include "comm/ucx/ucx_communicator.hpp"
#include "tests/unit/comm/conformance.hpp"

using namespace sy;
using namespace sy::comm;

namespace {

std::size_t at(index_t i) {
    return static_cast<std::size_t>(i);
}

template <class T>
MPI_Datatype mpi_type() {
    if constexpr (std::is_same_v<T, float>) return MPI_FLOAT;
    if constexpr (std::is_same_v<T, double>) return MPI_DOUBLE;
    if constexpr (std::is_same_v<T, std::int32_t>) return MPI_INT32_T;
    if constexpr (std::is_same_v<T, std::int64_t>) return MPI_INT64_T;
    if constexpr (std::is_same_v<T, std::uint64_t>) return MPI_UINT64_T;
}

template <class T>
std::vector<T> drawn(int rank, index_t count) {
    test::Draws draws(50 + static_cast<std::uint64_t>(rank));
    std::vector<T> values;
    for (index_t i = 0; i < count; ++i)
        values.push_back(static_cast<T>(draws.below(1 << 20)) -
                         static_cast<T>(std::is_signed_v<T> ? 1 << 19 : 0));
    return values;
}

/// Sums are whole numbers below 2^24, so floats add exactly too, whatever the library's order.
template <class T>
void check_against_library(Communicator& world) {
    for (const index_t count : {index_t{1}, index_t{30}, index_t{9001}}) {
        const std::vector<T> mine = drawn<T>(world.rank(), count);
        std::vector<T> theirs(at(count));
        for (const auto& [op, mpi_op] : {std::pair{ReduceOp::sum, MPI_SUM}, std::pair{ReduceOp::max, MPI_MAX},
                                         std::pair{ReduceOp::min, MPI_MIN}}) {
            std::vector<T> ours = mine;
            all_reduce(world, std::span<T>(ours), op);
            SY_MPI(MPI_Allreduce(mine.data(), theirs.data(), narrow<int>(count), mpi_type<T>(), mpi_op,
                                 MPI_COMM_WORLD));
            test::require_equal<T>(ours, theirs, "all_reduce and MPI_Allreduce");
        }
        std::vector<T> ours = mine;
        exscan(world, std::span<T>(ours));
        std::fill(theirs.begin(), theirs.end(), T{});
        SY_MPI(MPI_Exscan(mine.data(), theirs.data(), narrow<int>(count), mpi_type<T>(), MPI_SUM,
                          MPI_COMM_WORLD));
        if (world.rank() == 0) std::fill(theirs.begin(), theirs.end(), T{});  // MPI leaves them undefined
        test::require_equal<T>(ours, theirs, "exscan and MPI_Exscan");
    }
}

template <class T>
void check_reduce_scatter(Communicator& world) {
    std::vector<int> counts;
    std::vector<index_t> offsets{0};
    for (int rank = 0; rank < world.size(); ++rank) {
        counts.push_back((rank * 5 + 2) % 3 * 77);
        offsets.push_back(offsets.back() + counts.back());
    }
    const std::vector<T> mine = drawn<T>(world.rank(), offsets.back());
    std::vector<T> ours(at(counts[at(world.rank())]));
    std::vector<T> theirs(ours.size());
    reduce_scatter(world, std::span<const T>(mine), std::span<const index_t>(offsets), std::span<T>(ours));
    SY_MPI(MPI_Reduce_scatter(mine.data(), theirs.data(), counts.data(), mpi_type<T>(), MPI_SUM,
                              MPI_COMM_WORLD));
    test::require_equal<T>(ours, theirs, "reduce_scatter and MPI_Reduce_scatter");
}

void reductions_as_the_library(Communicator& world) {
    check_against_library<float>(world);
    check_against_library<double>(world);
    check_against_library<std::int32_t>(world);
    check_against_library<std::int64_t>(world);
    check_against_library<std::uint64_t>(world);
    check_reduce_scatter<float>(world);
    check_reduce_scatter<std::int64_t>(world);
}

void all_to_all_v_as_the_library(Communicator& world) {
    test::Draws draws(60);
    // The whole traffic matrix, the same on all ranks; a third of it empty.
    std::vector<index_t> bytes;
    for (int i = 0; i < world.size() * world.size(); ++i)
        bytes.push_back(draws.below(3) == 0 ? 0 : draws.below(40000));
    std::vector<index_t> send{0};
    std::vector<index_t> receive{0};
    for (int peer = 0; peer < world.size(); ++peer) {
        send.push_back(send.back() + bytes[at(world.rank() * world.size() + peer)]);
        receive.push_back(receive.back() + bytes[at(peer * world.size() + world.rank())]);
    }
    const std::vector<std::byte> outgoing = test::pattern_message(world.rank(), 0, at(send.back()));
    std::vector<std::byte> ours(at(receive.back()));
    std::vector<std::byte> theirs(ours.size(), std::byte{1});
    start_all_to_all_v(world, outgoing, send, ours, receive, 0, "test").wait();
    mpi_alltoallv(world, outgoing, send, theirs, receive);
    SY_REQUIRE(ours == theirs, "start_all_to_all_v and MPI_Alltoallv bring different bytes");
}

void library_refuses_the_fabric(Communicator& world) {
    const std::unique_ptr<Communicator> part = world.split(0, world.rank());
    std::vector<index_t> offsets(at(world.size()) + 1, index_t{1} << 31);
    offsets[0] = 0;
    test::require_throws<ShapeError>([&] { mpi_alltoallv(*part, {}, offsets, {}, offsets); },
                                     "a count beyond an int");
    part->close();
}

/// A pattern without a period of the pieces' size, cheap to write for 2^31 bytes.
std::uint64_t word(std::size_t i) {
    return static_cast<std::uint64_t>(i) * 0x9E3779B97F4A7C15U;
}

void huge_message(Communicator& world) {
    SY_REQUIRE(world.size() == 2, "give two ranks");
    constexpr std::size_t kWords = (std::size_t{1} << 28) + 3;  // 2^31 + 24 bytes: three pieces of 2^30
    std::vector<std::uint64_t> words(kWords);
    std::vector<std::unique_ptr<Request>> requests;
    if (world.rank() == 0) {
        for (std::size_t i = 0; i < kWords; ++i) words[i] = word(i);
        barrier(world);
        requests.push_back(world.send(std::as_bytes(std::span<const std::uint64_t>(words)), 1, 0));
    } else {
        requests.push_back(world.receive(std::as_writable_bytes(std::span<std::uint64_t>(words)), 0, 0));
        barrier(world);
    }
    wait_all(world, requests, "a huge message");
    for (std::size_t i = 0; i < kWords; ++i)
        SY_REQUIRE(words[i] == word(i), "word ", i, " of ", kWords, " is ", words[i]);
}

constexpr test::ConformanceCase kLibraryCases[] = {
    {"MPI: sums, extremes, scans and scattered sums are those of the library", reductions_as_the_library},
    {"MPI: all_to_all_v brings what MPI_Alltoallv brings", all_to_all_v_as_the_library},
    {"MPI: counts that MPI cannot express are refused", library_refuses_the_fabric},
};

/// Runs cases one after another; all ranks agree on each outcome before the next.
class Runner {
  public:
    void run(Communicator& world, std::string_view body, std::span<const test::ConformanceCase> cases) {
        for (const test::ConformanceCase& one : cases) {
            int failed = 0;
            try {
                one.run(world);
            } catch (const std::exception& error) {
                failed = 1;
                std::fprintf(stderr, "%s, rank %d of %d, %s: %s\n", std::string(one.name).c_str(),
                             world.rank(), world.size(), std::string(body).c_str(), error.what());
            }
            int num_failed = 0;
            SY_MPI(MPI_Allreduce(&failed, &num_failed, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD));
            ++(num_failed == 0 ? num_passed_ : num_failed_);
            // What a failed case left under way would meet the next one.
            if (num_failed > 0) MpiSession::abort(1);
        }
        is_speaker_ = world.rank() == 0;
    }

    int finish() const {
        if (is_speaker_)
            std::printf("All tests passed (%d assertions in %d test cases)\n", num_passed_, num_passed_);
        return num_passed_ > 0 && num_failed_ == 0 ? 0 : 1;
    }

  private:
    int num_passed_ = 0;
    int num_failed_ = 0;
    bool is_speaker_ = false;
};

constexpr std::chrono::seconds kDeadline{60};
constexpr std::chrono::milliseconds kShortDeadline{300};
constexpr index_t kPieceBytes = index_t{1} << 30;

void run_on_mpi(const MpiSession& mpi, Runner& runner) {
    const auto world = [&](std::chrono::milliseconds deadline, index_t piece_bytes,
                           MpiCollectiveBody collectives = MpiCollectiveBody::library) {
        return mpi.world({.deadline = deadline, .name = "world"}, piece_bytes, collectives);
    };
    const std::vector<test::ConformanceCase> cases = test::all_cases();
    runner.run(*world(kDeadline, kPieceBytes), "MPI", cases);
    runner.run(*world(kDeadline, kPieceBytes), "MPI", kLibraryCases);
    // Every message in pieces, those of collectives as well.
    runner.run(*world(kDeadline, test::kSmallPieceBytes, MpiCollectiveBody::own), "MPI in small pieces",
               cases);
    runner.run(*world(kShortDeadline, kPieceBytes), "MPI", test::deadline_cases());
}

void run_on_ucx(const MpiSession& mpi, Runner& runner) {
    const std::unique_ptr<Communicator> wire_up = mpi.world({.deadline = kDeadline, .name = "wire-up"});
    const std::unique_ptr<Communicator> world =
        connect_ucx(*wire_up, {.deadline = kDeadline, .name = "world"});
    const std::unique_ptr<Communicator> hasty =
        connect_ucx(*wire_up, {.deadline = kShortDeadline, .name = "world"});
    runner.run(*world, "UCX", test::all_cases());
    runner.run(*hasty, "UCX", test::deadline_cases());
    world->close();
    // The other one could not wait for long until all have come, so it is left as a failing run leaves it.
}

}  // namespace

int main(int argc, char** argv) {
    const MpiSession mpi;
    Runner runner;
    const std::string_view what = argc > 1 ? argv[1] : "";
    if (what == "huge") {
        constexpr test::ConformanceCase kHuge[] = {{"MPI: a message of more than 2^31 bytes", huge_message}};
        runner.run(*mpi.world({.deadline = std::chrono::minutes(5), .name = "world"}), "MPI", kHuge);
    } else if (what == "ucx") {
        run_on_ucx(mpi, runner);
    } else {
        run_on_mpi(mpi, runner);
    }
    return runner.finish();
}
