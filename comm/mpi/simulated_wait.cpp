// wait_all in SimGrid's simulation. All ranks are one thread there, and time passes inside the simulator alone: a rank that
// tested in a loop would wait for ever.
#include <algorithm>
#include <simgrid/s4u/Actor.hpp>
#include <simgrid/s4u/Engine.hpp>

#include "comm/communicator.hpp"
#include "comm/mpi/blocking_request.hpp"

namespace sy::comm {
namespace {

/// Waits for what ranks of a node write to the memory that they share, with tests at a distance of a hundredth of what has
/// been waited: so much too long may the wait become.
void test_until_complete(Communicator& comm, Request& request, std::string_view doing) {
    const double start = simgrid::s4u::Engine::get_clock();
    const double deadline = std::chrono::duration<double>(comm.settings().deadline).count();
    constexpr double kShortestPause = 1e-7;
    while (!request.test()) {
        const double waited = simgrid::s4u::Engine::get_clock() - start;
        if (waited > deadline)
            throw TimeoutError(concat(doing, " on ", comm.settings().name, " rank ", comm.rank(), " of ",
                                      comm.size(), ": nothing after ", waited,
                                      " simulated seconds; still waiting for ", request.description()));
        simgrid::s4u::this_actor::sleep_for(std::max(kShortestPause, waited / 100));
    }
}

}  // namespace

void wait_all(Communicator& comm, std::span<const std::unique_ptr<Request>> requests,
              std::string_view doing) {
    const double start = simgrid::s4u::Engine::get_clock();
    for (const std::unique_ptr<Request>& request : requests) {
        // The other transfers go on meanwhile, so the order of waiting does not show.
        if (auto* const message = dynamic_cast<BlockingRequest*>(request.get()))
            message->block();
        else
            test_until_complete(comm, *request, doing);
    }
    comm.add_waited_seconds(simgrid::s4u::Engine::get_clock() - start);
}

}  // namespace sy::comm
