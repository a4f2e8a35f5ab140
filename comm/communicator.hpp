#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "comm/roll_call.hpp"
#include "kernels/core/types.hpp"

namespace sy::comm {

using Clock = std::chrono::steady_clock;

class NativeCollectives;

/// A started transfer, which wait_all completes. A request that has thrown is complete: nothing is written to its buffer
/// any more. Destroying an incomplete request while no exception is in flight is a programming error, which its
/// destructor reports.
class Request {
  public:
    virtual ~Request() = default;
    /// Makes progress and returns whether the transfer is complete; never blocks. @throws CommError
    virtual bool test() = 0;
    /// What the transfer waits for, in time-out messages: "receive of 4096 bytes from rank 3, tag 7".
    virtual std::string description() const = 0;
};

/// A group of ranks that exchange messages: point-to-point with deadlines, from which every collective in
/// comm/collectives.hpp is built. One body per transport (comm/mpi, comm/ucx, comm/local); every body passes
/// tests/unit/comm/communicator_conformance.
///
/// Not thread-safe: one thread per rank communicates. Messages between two ranks with equal tags arrive in
/// the order in which they were sent, and match receives in the order in which these were started. A message may exceed
/// 2^31 bytes, and it may be empty (an empty message is still matched).
class Communicator {
  public:
    virtual ~Communicator() = default;

    virtual int rank() const = 0;
    virtual int size() const = 0;

    /// Starts sending `bytes` to `destination` (may be this rank). @param tag 0 .. kMaxTag
    /// @par Buffers  `bytes` may be read, and must neither change nor go away until the request is complete
    /// @par Waits    never; the request is complete once the bytes are not needed any more, which may take the receive
    virtual std::unique_ptr<Request> send(std::span<const std::byte> bytes, int destination, int tag) = 0;
    /// Starts receiving exactly bytes.size() bytes. @throws CommError at completion if another size arrives.
    /// A longer message is a programming error that nothing recovers from: MPI libraries may have written all of it (Open
    /// MPI 4.1 does, when ranks copy from each other's memory) before they report it.
    /// @par Buffers  `bytes` belongs to the transfer: nobody may read, write or free it until the request is complete
    /// @par Waits    never; the request is complete once the bytes have arrived
    virtual std::unique_ptr<Request> receive(std::span<std::byte> bytes, int source, int tag) = 0;

    /// Gives what is under way a chance to move on, for a rank that waits for something else than messages.
    /// @throws CommError when a rank is known to have failed
    virtual void poll() = 0;

    /// Collectives of the library that carries the messages, for comm/collectives.hpp; null where it has none.
    virtual NativeCollectives* native_collectives() { return nullptr; }

    /// Ranks of equal `color` (0 or more) form a new communicator, ordered by (key, rank).
    /// @par Collective
    virtual std::unique_ptr<Communicator> split(int color, int key) = 0;
    /// Ranks that share memory form a new communicator ("node").
    /// @par Collective
    virtual std::unique_ptr<Communicator> split_by_node() = 0;

    /// Releases what only a collective call can release. It must be called before destruction in normal flow, as the
    /// destructor never communicates. Afterwards every use throws LogicError; closing again does nothing.
    /// @par Collective
    virtual void close() = 0;

    /// How long a wait may last before TimeoutError, and what the communicator is called in messages.
    struct Settings {
        std::chrono::milliseconds deadline{120000};
        /// A wait spins this long before it yields the core.
        std::chrono::microseconds spin{50};
        std::string name = "world";
    };
    virtual const Settings& settings() const = 0;

    /// Seconds that this rank has spent inside wait_all on this communicator; those split from it count their own.
    double waited_seconds() const { return waited_seconds_; }
    void add_waited_seconds(double seconds) { waited_seconds_ += seconds; }

    /// Declares this a communicator of the same rank as `other`: a part of it, or the same ranks over another transport.
    void belong_with(const Communicator& other) { rank_wide_ = other.rank_wide_; }
    /// From now on every wait of this rank polls this one too, since others may wait for what it alone moves on: UCX
    /// answers puts over sockets only while the rank that they go to calls it.
    void begin_to_accompany() { rank_wide_->companions.push_back(this); }
    /// Does nothing where it has not begun.
    void end_accompanying() { std::erase(rank_wide_->companions, this); }
    void set_roll_call(std::unique_ptr<RollCall> roll_call) { rank_wide_->roll_call = std::move(roll_call); }
    /// For a wait that takes long: polls those that accompany, and answers a roll call.
    /// @throws CommError when a rank is known to have failed
    void poll_all(std::string_view doing);
    /// For a wait that has taken too long. @return sentences for the message; empty where nobody can be asked
    /// @par Waits  at most two seconds
    std::string call_roll(std::string_view doing);

  private:
    /// What the communicators of one rank share.
    struct RankWide {
        std::vector<Communicator*> companions;
        std::unique_ptr<RollCall> roll_call;
    };

    double waited_seconds_ = 0.0;
    std::shared_ptr<RankWide> rank_wide_ =
        std::make_shared<RankWide>();  // Owners: the communicators of a rank.
};

/// Highest tag a user of a communicator may choose.
inline constexpr int kMaxTag = 30000;

/// Highest tag that collectives use; MPI promises 32767.
inline constexpr int kMaxInternalTag = kMaxTag + 16;

namespace detail {
/// The checks of every body before a message starts. @throws LogicError
void check_message(const Communicator& comm, int peer, int tag);
/// Reports a request that is destroyed before its transfer is complete, unless an exception is in flight.
void report_dropped(const Request& request);
}  // namespace detail

/// Waits until every request is complete, in any order.
/// @param doing  what the caller attempts, for the message: "dispatch of layer 3"
/// @throws TimeoutError after settings().deadline, naming the requests that did not finish; CommError
void wait_all(Communicator& comm, std::span<const std::unique_ptr<Request>> requests, std::string_view doing);

}  // namespace sy::comm
