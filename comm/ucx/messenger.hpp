#pragma once

#include <algorithm>
#include <cstring>
#include <deque>
#include <memory>
#include <type_traits>
#include <unordered_map>
#include <vector>

#include "comm/ucx/record.hpp"
#include "comm/ucx/wire.hpp"

namespace sy::comm::detail {

/// Messages of a channel are numbered on both sides: the nth that is sent meets the nth receive.
struct Channel {
    std::uint64_t communicator = 0;
    std::int32_t peer = 0;  ///< rank of the world
    std::int32_t tag = 0;
    bool operator==(const Channel&) const = default;
};

struct HashChannel {
    std::size_t operator()(const Channel& channel) const {
        const std::uint64_t place =
            (static_cast<std::uint64_t>(channel.peer) << 16) + static_cast<std::uint64_t>(channel.tag);
        return static_cast<std::size_t>((channel.communicator * 0x9E3779B97F4A7C15U + place) *
                                        0xD6E8FEB86659FD93U);
    }
};

/// Takes what has this number out of `values`; false when nothing has.
template <class T>
bool take(std::vector<T>& values, std::uint64_t number, T& taken) {
    const auto number_of = [](const T& value) {
        if constexpr (std::is_pointer_v<T>) {
            return value->number;
        } else {
            return value.number;
        }
    };
    const auto found = std::find_if(values.begin(), values.end(),
                                    [&](const T& value) { return number_of(value) == number; });
    if (found == values.end()) return false;
    taken = std::move(*found);
    values.erase(found);
    return true;
}

/// A message that is being sent.
struct Outgoing {
    Channel channel;
    std::span<const std::byte> bytes;
    std::uint64_t number = 0;
    bool is_long = false;
    bool over = false;
    std::size_t parted_bytes = 0;  ///< that have gone in parts
    std::string error;
    std::vector<UcxOperation> operations;  ///< that read the bytes
    RemoteKey key;                         ///< to memory that is registered for this message only
};

/// A message that is being received.
struct Incoming {
    Channel channel;
    std::span<std::byte> bytes;
    std::uint64_t number = 0;
    bool is_ready = false;  ///< the sender has been told where the bytes belong
    bool over = false;
    std::uint64_t parted_bytes = 0;   ///< that have come in parts
    std::uint64_t arrived_bytes = 0;  ///< the size that the sender tells
    std::unique_ptr<Region> region;   ///< registered for this message only
};

/// Sends and matches messages by puts alone.
///
/// Each rank has a ring for records in every other rank's window (record.hpp). A record is put, then, behind a fence, the
/// counter of the stream's bytes, which the receiver polls: "Communication operations issued on the worker prior to
/// this call are guaranteed to be completed before any subsequent communication operations to the same worker which follow
/// the call to fence" (UCP API 1.13, ucp_worker_fence). Puts have no order without it. That an aligned counter of 8 bytes
/// arrives in one piece is what OpenSHMEM's waits rely on, too. The receiver drains each ring at once and puts back how
/// far it has come.
///
/// A message of up to kShortBytes travels in its record, and waits in the receiver's memory when its receive is not there
/// yet; a sender stops sending so while kEarlyBytes of its messages wait.
///
/// For a longer one a receive says where the bytes belong (`ready`) as soon as it is started. A send that does not find
/// that announces itself, so that a receive of another size answers too. To memory that can be reached directly, slabs
/// and whatever is on other nodes, the sender then puts the bytes, waits for a flush, "completed both at the origin and at
/// the target" (ucp_ep_flush_nbx), and sends `done`: a flush and not a fence, since ring and bytes may go over
/// different transports. To other memory on its own node it sends the bytes in parts through the ring: UCX would cut them
/// into messages there, which was twice as slow. Each receive is completed by a `message`, a `done` or its last `part`, all
/// of which tell the sender's size, and each long send by one `ready`: both sides notice sizes that differ, before
/// anything is written.
///
/// Not thread-safe. Progress is made by progress() and poll(), and nowhere waits.
class Messenger {
  public:
    /// @param nodes  of each rank: the lowest rank that shares memory with it
    /// @par Collective  over wire_up
    Messenger(Communicator& wire_up, PerRank<int> nodes);

    /// Both must live until they are `over` or forgotten. @throws CommError
    void start(Outgoing& message);
    void start(Incoming& message);
    /// Its bytes are about to go away. A receive that its sender may still write to makes the whole messenger unusable.
    void forget(Outgoing& message);
    void forget(Incoming& message);

    /// What brings messages to and from `rank` on, and by turns the others.
    void progress(int rank);
    /// What brings all messages on. @throws CommError when nothing will come from some rank any more
    void poll();
    /// @throws CommError when nothing will come from this rank any more
    void check(int rank) const;
    /// Answers what UCX asks for others' puts; takes no messages.
    void serve() { wire_.progress(); }

    /// Nothing is left to be put, and all of it is in its place.
    bool is_flushed();
    /// The last call: all ranks are flushed.
    void release() { wire_.release(); }

    int world_rank() const { return rank_; }
    /// The lowest rank that shares memory with this one.
    int node() const { return nodes_[rank_]; }
    /// A number for a new communicator that no rank gives twice.
    std::uint64_t new_communicator();
    void forget_communicator(std::uint64_t communicator);
    std::byte* new_slab(index_t bytes);
    /// The window, slabs, and mirrors of rings that have been used.
    index_t reserved_bytes() const;

  private:
    /// A message, or the announcement of one, that came before its receive.
    struct Early {
        std::uint64_t number = 0;
        std::uint64_t size = 0;
        bool is_announcement = false;
        std::vector<std::byte> bytes;
    };
    /// A `ready` that came before its send.
    struct Ready {
        std::uint64_t number = 0;
        std::uint64_t size = 0;
        std::uint64_t address = 0;
        ucp_rkey* key = nullptr;  ///< none: in parts
        RemoteKey owned_key;      ///< the same, when it is for this message only
    };
    struct Box {
        std::uint64_t num_sent = 0;
        std::uint64_t num_receives = 0;
        std::vector<Outgoing*> sends;  ///< long, without `ready`
        std::vector<Ready> readies;
        std::vector<Incoming*> receives;
        std::vector<Early> early;
    };
    struct Peer {
        // To it.
        std::uint64_t written = 0;      ///< position in the stream
        std::uint64_t sent_bytes = 0;   ///< of short messages
        std::vector<std::byte> mirror;  ///< what is put lies here until the receiver has consumed it
        std::deque<std::vector<std::byte>> records;  ///< that wait for room
        std::deque<Outgoing*> sends;                 ///< that wait for room
        std::unordered_map<std::uint64_t, RemoteKey> slab_keys;
        // From it.
        Credit credit;    ///< how far this rank has come
        Credit reported;  ///< and what it has told
        std::vector<bool> knows_slab;
    };
    static constexpr std::size_t kShortBytes = 4096;
    static constexpr std::uint64_t kEarlyBytes = 8 << 20;

    Credit credit_of(int rank) const;
    /// Puts a record if there is room for it. @param operations  gets those that read the payload and are not over
    /// @return whether there was room
    bool put_record(int rank, Record record, std::span<const std::byte> payload,
                    std::vector<UcxOperation>& operations);
    void send_record(int rank, const Record& record, std::string_view payload);
    /// Sends its bytes in records as far as there is room. @return whether that was all of them
    bool send_in_records(Outgoing& message);
    void queue(Outgoing& message);
    void send_done(Outgoing& message);
    void send_queued(int rank);
    void send_long(Outgoing& message, Ready ready);
    /// The slab that holds the bytes; their number when none does.
    std::size_t slab_of(std::span<const std::byte> bytes) const;
    void send_ready(Incoming& message);
    void advance(Outgoing& message);

    bool drain(int rank);
    void handle(int rank, const Record& record, const std::byte* payload);
    void handle_announcement(Box& box, const Record& record);
    void handle_ready(Box& box, int rank, const Record& record, const std::byte* payload);
    void handle_part(Box& box, int rank, const Record& record, const std::byte* payload);
    [[noreturn]] void refuse(int rank, const Record& record) const;
    void finish(Incoming& message, std::uint64_t size);
    void deliver(Incoming& message, std::span<const std::byte> bytes);
    void report_credit(int rank);

    int rank_;
    int num_ranks_;
    PerRank<int> nodes_;
    WindowLayout layout_;
    Wire wire_;
    PerRank<Peer> peers_;
    std::unordered_map<Channel, Box, HashChannel> boxes_;
    std::vector<Outgoing*> moving_;  ///< whose bytes UCX is reading
    std::vector<std::unique_ptr<Region>> slabs_;
    UcxOperation last_flush_;
    bool is_flushing_ = false;
    std::string broken_;
    std::uint64_t num_communicators_ = 0;
    int turn_ = 0;
    unsigned num_rounds_ = 0;
};

}  // namespace sy::comm::detail
