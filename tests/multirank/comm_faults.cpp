// A rank that fails in the middle of an exchange, as the whole program would meet it.
//   mpirun -n N comm_faults late|split|all_reduce|exscan|all_gather|barrier|killed
// The last rank sleeps past the deadline before an exchange (late), a split or the collective, or is killed (killed).
#include <unistd.h>

#include <csignal>
#include <iostream>
#include <string_view>
#include <thread>

#include "comm/collectives.hpp"
#include "comm/mpi/mpi_session.hpp"
#include "runtime/cli/guarded_main.hpp"

using namespace sy;
using namespace sy::comm;

namespace {

/// One round of traffic: every rank sends 4096 bytes to every other.
void exchange(Communicator& world) {
    std::vector<std::byte> outgoing(4096 * static_cast<std::size_t>(world.size()));
    std::vector<std::byte> incoming(outgoing.size());
    std::vector<index_t> offsets;
    for (int rank = 0; rank <= world.size(); ++rank) offsets.push_back(4096 * rank);
    start_all_to_all_v(world, outgoing, offsets, incoming, offsets, 3, "exchange of test rows").wait();
}

int run(std::string_view what) {
    const MpiSession mpi;
    // All have come before the short deadline begins, however busy the machine is.
    exchange(*mpi.world({.deadline = std::chrono::seconds(60), .name = "world"}));
    const std::unique_ptr<Communicator> world =
        mpi.world({.deadline = std::chrono::seconds(2), .name = "world"});
    if (world->rank() == world->size() - 1) {
        if (what == "killed") std::raise(SIGKILL);
        std::this_thread::sleep_for(std::chrono::minutes(5));
    }
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
