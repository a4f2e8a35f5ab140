#pragma once

#include <csignal>

namespace sy::runtime {

/// Notices SIGTERM and SIGUSR1 while it lives, so that a run can finish its step and write a checkpoint; then restores
/// what was there. A second SIGTERM meets its default action and ends the process at once. One in a process.
class StopSignal {
  public:
    /// @throws LogicError when there is one already
    StopSignal();
    StopSignal(const StopSignal&) = delete;
    StopSignal& operator=(const StopSignal&) = delete;
    ~StopSignal();

    /// Whether a signal has come since construction.
    bool requested() const;

  private:
    struct sigaction terminate_ {};
    struct sigaction user_ {};
};

}  // namespace sy::runtime
