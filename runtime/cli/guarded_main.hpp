#pragma once

#include <chrono>
#include <functional>
#include <iosfwd>
#include <string>

namespace sy::runtime {

/// What a failure message says about its origin, and what ends the job.
struct Guard {
    int rank = -1;  ///< as the launcher numbers it; -1: there is no launcher
    std::string host;
    std::ostream& messages;
    /// Ends every rank with this exit code; empty when this process is all there is.
    std::function<void(int)> abort_job;
    /// A failure of all ranks is the same message on each: ranks above 0 wait this long before they speak, so that
    /// rank 0 normally has ended the job by then. A failure of one rank is only told this much later.
    std::chrono::milliseconds patience{2000};
};

/// The one place that catches everything: runs `body`, and turns a failure into one message and an exit code.
/// @return body's result, which is 0 or, for training that a signal has stopped early, 75 (EX_TEMPFAIL); 1 failed,
///         2 wrong usage or config, 3 time-out or lost peer
int guarded_main(const std::function<int()>& body, const Guard& guard);

/// This process's rank from the launcher's environment, without starting MPI; -1 without a launcher.
int launcher_rank();

}  // namespace sy::runtime
