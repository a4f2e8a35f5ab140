#include "runtime/cli/stop_signal.hpp"

#include <cerrno>
#include <csignal>
#include <cstring>

#include "kernels/core/error.hpp"

namespace sy::runtime {

StopSignal::StopSignal() {
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGUSR1);
    if (const int error = pthread_sigmask(SIG_BLOCK, &signals, nullptr); error != 0)
        throw Error(concat("cannot block SIGTERM and SIGUSR1: ", std::strerror(error)));
}

bool StopSignal::requested() const {
    sigset_t pending;
    sigemptyset(&pending);
    if (sigpending(&pending) != 0)
        throw Error(concat("cannot ask for pending signals: ", std::strerror(errno)));
    return sigismember(&pending, SIGTERM) == 1 || sigismember(&pending, SIGUSR1) == 1;
}

}  // namespace sy::runtime
