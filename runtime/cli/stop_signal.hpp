#pragma once

namespace sy::runtime {

/// SIGTERM and SIGUSR1 as a wish to stop that the program asks for when it is ready, between two steps.
///
/// No handler runs: a compute thread may at any moment be inside a library that has made its own memory the stack, as
/// oneDNN 2.6's AVX2 matrix product does, where a handler's frame would overwrite the heap. The signals are blocked
/// instead, and stay pending once they have come, however often. They stay blocked when this object is gone, so that
/// one that comes while a finished run is leaving does not turn it into a killed one.
class StopSignal {
  public:
    /// Blocks both signals in this thread and all that are started from now on; every other thread would still be
    /// ended by them. So it comes before MPI starts. A signal that is pending already, under a block that the process
    /// inherited, counts.
    StopSignal();

    /// Whether one has come. Asked by this thread or one that was started after construction.
    bool requested() const;
};

}  // namespace sy::runtime
