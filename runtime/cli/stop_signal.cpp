#include "runtime/cli/stop_signal.hpp"

#include "kernels/core/error.hpp"

namespace sy::runtime {
namespace {

// Signal handlers can reach nothing but a global.
volatile std::sig_atomic_t stop_requested = 0;
bool installed = false;

void note_stop_request(int) {
    stop_requested = 1;
}

}  // namespace

StopSignal::StopSignal() {
    SY_REQUIRE(!installed, "stop signal: there is one already");
    installed = true;
    stop_requested = 0;
    struct sigaction action {};
    action.sa_handler = note_stop_request;
    sigemptyset(&action.sa_mask);
    action.sa_flags = SA_RESTART;
    sigaction(SIGUSR1, &action, &user_);
    action.sa_flags = static_cast<int>(SA_RESTART | SA_RESETHAND);
    sigaction(SIGTERM, &action, &terminate_);
}

StopSignal::~StopSignal() {
    sigaction(SIGTERM, &terminate_, nullptr);
    sigaction(SIGUSR1, &user_, nullptr);
    installed = false;
}

bool StopSignal::requested() const {
    return stop_requested != 0;
}

}  // namespace sy::runtime
