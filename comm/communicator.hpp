#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "kernels/core/types.hpp"

namespace sy::comm {

using Clock = std::chrono::steady_clock;

/// A started transfer. Complete it with wait_all; its buffers must outlive that. A request that threw is over: nothing
/// is written to its buffer any more. Dropping an unfinished request while no exception is in flight is a programming
/// error: its destructor says so.
class Request {
  public:
    virtual ~Request() = default;
    /// Makes progress and says whether the transfer is over; never blocks. @throws CommError
    virtual bool test() = 0;
    /// What is being waited for, for time-out messages: "receive of 4096 bytes from rank 3, tag 7".
    virtual std::string description() const = 0;
};

/// A group of ranks that exchange messages: point-to-point with deadlines, from which every collective in
/// comm/collectives.hpp is built. One body per transport (comm/mpi, comm/local); every body passes
/// tests/unit/comm/communicator_conformance.
///
/// Not thread-safe: one thread per rank communicates. Messages between two ranks with equal tags arrive in
/// the order sent, in the receives in the order started. A message may exceed 2^31 bytes and may be empty (an empty message is still matched).
class Communicator {
  public:
    virtual ~Communicator() = default;

    virtual int rank() const = 0;
    virtual int size() const = 0;

    /// Starts sending `bytes` to `destination` (may be this rank). @param tag 0 .. kMaxTag
    virtual std::unique_ptr<Request> send(std::span<const std::byte> bytes, int destination, int tag) = 0;
    /// Starts receiving exactly bytes.size() bytes. @throws CommError at completion if another size arrives.
    /// A longer message is an error of the program that cannot be gone on from: MPI libraries may have written all of it
    /// (Open MPI 4.1 does, when ranks copy from each other's memory) before they say so.
    virtual std::unique_ptr<Request> receive(std::span<std::byte> bytes, int source, int tag) = 0;

    /// Ranks of equal `color` (0 or more) form a new communicator, ordered by (key, rank).
    /// @par Collective
    virtual std::unique_ptr<Communicator> split(int color, int key) = 0;
    /// Ranks that share memory form a new communicator ("node").
    /// @par Collective
    virtual std::unique_ptr<Communicator> split_by_node() = 0;

    /// Releases what only a collective call can release. Must be called before destruction in normal flow;
    /// the destructor never communicates. Afterwards every use throws LogicError; closing again does nothing.
    /// @par Collective
    virtual void close() = 0;

    /// How long any wait may last before TimeoutError, and what the ranks and host are called in messages.
    struct Settings {
        std::chrono::milliseconds deadline{120000};
        /// Spins this long before yielding the core to others.
        std::chrono::microseconds spin{50};
        std::string name = "world";
    };
    virtual const Settings& settings() const = 0;

    /// Seconds that this rank has spent inside wait_all on this communicator (those split from it count their own).
    double waited_seconds() const { return waited_seconds_; }
    void add_waited_seconds(double seconds) { waited_seconds_ += seconds; }

  private:
    double waited_seconds_ = 0.0;
};

/// Highest tag a user of a communicator may choose.
inline constexpr int kMaxTag = 30000;

/// Highest tag that collectives use; MPI promises 32767.
inline constexpr int kMaxInternalTag = kMaxTag + 16;

namespace detail {
/// What every body checks before a message starts. @throws LogicError
void check_message(const Communicator& comm, int peer, int tag);
/// What a request's destructor says when its transfer is not over, unless an exception is in flight.
void report_dropped(const Request& request);
}  // namespace detail

/// Waits until every request is over, in any order.
/// @param doing  what the caller attempts, for the message: "dispatch of layer 3"
/// @throws TimeoutError after settings().deadline, naming the requests that did not finish; CommError
void wait_all(Communicator& comm, std::span<const std::unique_ptr<Request>> requests, std::string_view doing);

}  // namespace sy::comm
