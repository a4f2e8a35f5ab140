#pragma once

#include <functional>
#include <memory>

#include "comm/communicator.hpp"

namespace sy::comm {

/// Faults that a test requests; all are off by default. They are drawn from `seed` and the number of a rank's operation,
/// so they are the same in every run.
struct LocalFaults {
    std::uint64_t seed = 1;
    std::chrono::microseconds max_delay{
        0};  ///< each message arrives up to this late; so messages of other peers or
             ///< tags overtake it, never those of the same (source, tag)
    float lost_share =
        0.0F;  ///< of the messages, which never arrive; nor does what follows on their (source, tag)
    int failing_rank = -1;          ///< this rank throws CommError ...
    index_t failing_operation = 0;  ///< ... at its nth send or receive
};

struct LocalOptions {
    int ranks_per_node = 0;  ///< 0: all ranks share one node
    Communicator::Settings settings;
    LocalFaults faults;
};

/// Ranks as threads of this process, for tests and for machines without an MPI launcher.
class LocalFabric {
  public:
    explicit LocalFabric(int num_ranks, LocalOptions options = {});
    ~LocalFabric();
    LocalFabric(const LocalFabric&) = delete;
    LocalFabric& operator=(const LocalFabric&) = delete;

    /// Runs body(world) on one thread a rank and joins them all. When a rank throws, the others are released with
    /// CommError from whatever they wait for, and the first failure is rethrown.
    /// @throws LogicError when all ranks have returned and a message was never received
    void run(const std::function<void(Communicator&)>& body);

    struct State;

  private:
    std::shared_ptr<State> state_;  // Second owners: the communicators, which may outlive a failed run.
    int num_ranks_;
};

}  // namespace sy::comm
