#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>

#include "kernels/core/types.hpp"

/// What lies in the memory that ranks put into.
namespace sy::comm::detail {

/// Every part of the window begins on a cache line.
inline constexpr index_t kLine = 64;

enum class RecordKind : std::uint16_t {
    message,   ///< a short message; its bytes follow
    part,      ///< a part of a long message; its bytes follow
    announce,  ///< a long message waits for its receive
    ready,     ///< a receive waits for its message: where its bytes belong; the key to that memory may follow
    done,      ///< the bytes of a long message are in their place, or its size is not the receive's
    skip,      ///< nothing: the next record begins at the start of the ring
};

/// Begins each record of a ring. Positions count the bytes of the stream since the start.
struct Record {
    std::uint64_t position = 0;      ///< where this record begins
    std::uint64_t end = 0;           ///< where the next one begins
    std::uint64_t communicator = 0;  ///< with tag and source: which messages are counted by `number`
    std::uint64_t number = 0;
    std::uint64_t size = 0;     ///< bytes of the whole message, as whoever sends the record has them
    std::uint64_t address = 0;  ///< of the receive's bytes (ready); where among them a part begins (part)
    std::uint64_t slab = 0;     ///< which the receive's bytes lie in, from 1 on (ready)
    std::int32_t tag = 0;
    RecordKind kind = RecordKind::skip;
    std::uint16_t following_bytes = 0;
};
static_assert(sizeof(Record) == kLine);

/// Tells a sender how far a receiver has come.
struct Credit {
    std::uint64_t consumed = 0;  ///< position in the stream up to which the ring may be written over
    std::uint64_t matched = 0;   ///< bytes of short messages that receives have got
};

/// Where things lie in a rank's window, which all ranks lay out alike: of every rank that sends to it a counter of the
/// stream's bytes and a ring; of every rank that it sends to a Credit.
class WindowLayout {
  public:
    explicit WindowLayout(index_t num_ranks) : num_ranks_(num_ranks) {
        constexpr index_t kAllRings = index_t{64} << 20;
        const auto share = std::bit_floor(static_cast<std::uint64_t>(kAllRings / num_ranks));
        ring_bytes_ = std::clamp<index_t>(static_cast<index_t>(share), 32 << 10, 256 << 10);
    }

    index_t ring_bytes() const { return ring_bytes_; }
    index_t counter(index_t source) const { return source * kLine; }
    index_t credit(index_t destination) const { return (num_ranks_ + destination) * kLine; }
    index_t ring(index_t source) const { return 2 * num_ranks_ * kLine + source * ring_bytes_; }
    index_t bytes() const { return ring(num_ranks_); }

  private:
    index_t num_ranks_;
    index_t ring_bytes_ = 0;
};

}  // namespace sy::comm::detail
