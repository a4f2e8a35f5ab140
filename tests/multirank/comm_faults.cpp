// A rank that fails in the middle of an exchange, as the whole program would meet it.
//   mpirun -n N comm_faults late|split|all_reduce|exscan|all_gather|barrier|killed|late_puts|killed_puts
// The last rank sleeps past the deadline before an exchange (late), a split or the collective, or is killed (killed); or the
// same while all put rows into each other's memory by UCX (late_puts, killed_puts).
#include <unistd.h>

#include <csignal>
#include <iostream>
#include <string_view>
#include <thread>

#include "comm/collectives.hpp"
#include "comm/mpi/mpi_session.hpp"
#include "comm/ucx/ucx_communicator.hpp"
#include "kernels/core/arena.hpp"
#include "runtime/cli/guarded_main.hpp"

using namespace sy;
using namespace sy::comm;

namespace {

/// One round of traffic: every rank sends `bytes_each` to every other.
void exchange(Communicator& world, index_t bytes_each, std::span<std::byte> incoming) {
    const std::vector<std::byte> outgoing(incoming.size());
    std::vector<index_t> offsets;
    for (int rank = 0; rank <= world.size(); ++rank) offsets.push_back(bytes_each * rank);
    start_all_to_all_v(world, outgoing, offsets, incoming, offsets, 3, "exchange of test rows").wait();
}

void exchange(Communicator& world) {
    constexpr index_t kBytesEach = 4096;
    std::vector<std::byte> incoming(static_cast<std::size_t>(kBytesEach * world.size()));
    exchange(world, kBytesEach, incoming);
}

[[noreturn]] void fall_silent(bool is_killed) {
    if (is_killed) std::raise(SIGKILL);
    std::this_thread::sleep_for(std::chrono::minutes(5));
    std::abort();
}

/// Rows that are put into memory which UCX has registered, until the last rank falls silent between two rounds.
[[noreturn]] void put_rows(Communicator& world, bool is_killed) {
    const std::unique_ptr<Communicator> puts = connect_ucx(world, world.settings());
    Arena reachable(index_t{1} << 20, ucx_slabs(*puts));
    constexpr index_t kBytesEach = 300000;
    Buffer room = reachable.allocate(kBytesEach * world.size());
    const std::span<std::byte> incoming(room.data(), static_cast<std::size_t>(kBytesEach * world.size()));
    for (int round = 0;; ++round) {
        if (round == 20 && world.rank() == world.size() - 1) fall_silent(is_killed);
        exchange(*puts, kBytesEach, incoming);
    }
}

int run(std::string_view what) {
    const MpiSession mpi;
    // All have come before the short deadline begins, however busy the machine is.
    exchange(*mpi.world({.deadline = std::chrono::seconds(60), .name = "world"}));
    const std::unique_ptr<Communicator> world =
        mpi.world({.deadline = std::chrono::seconds(2), .name = "world"});
    if (what == "late_puts" || what == "killed_puts") put_rows(*world, what == "killed_puts");
    if (world->rank() == world->size() - 1) fall_silent(what == "killed");
    index_t value = 1;
    if (what == "split") {
        world->split(0, 0)->close();
    } else if (what == "all_reduce") {
        all_reduce(*world, std::span<index_t>(&value, 1));
    } else if (what == "exscan") {
        exscan(*world, std::span<index_t>(&value, 1));
    } else if (what == "all_gather") {
        all_gather(*world, std::span<const index_t>(&value, 1));
    } else if (what == "barrier") {
        barrier(*world);
    } else {
        exchange(*world);
    }
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    const runtime::Guard guard{.rank = runtime::launcher_rank(),
                               .host = "here",
                               .messages = std::cerr,
                               .abort_job = [](int exit_code) { MpiSession::abort(exit_code); },
                               .patience = std::chrono::seconds(30)};
    return runtime::guarded_main([&] { return run(argc > 1 ? argv[1] : "late"); }, guard);
}
