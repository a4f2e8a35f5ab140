#pragma once

#include <cuda_runtime.h>
#include <nccl.h>

#include <array>
#include <cstdint>
#include <span>

#include "kernels/core/context.hpp"

/// How rows come into the windows of other GPUs: three kernels on a stream, of which the middle one moves bytes and waits
/// for nobody. Who receives first grants a place, on its own stream, so that what it has queued on that memory is done; who
/// sends waits for the grant, puts the rows there, and says so.
namespace sy::comm {

/// Ranks of a group at most: what a kernel is told of them are its arguments.
inline constexpr int kMostWindowRanks = 72;
/// Windows for rows at most, in which a place is named by a number of 16 bits and a byte of 48.
inline constexpr int kMostWindows = 256;

/// What a peer has written into this rank's window of words, 64-bit numbers that only grow but for the place.
struct PeerWords {
    unsigned long long place;    ///< where this rank may put its next message to the peer
    unsigned long long granted;  ///< messages to the peer that have had a place so far
    unsigned long long arrived;  ///< messages from the peer that are there
    unsigned long long unused;
};

/// What the host reads while kernels run, and they read of it: memory of the host that is pinned.
struct WindowSignals {
    unsigned int is_given_up;  ///< by the host: kernels that wait end
    unsigned int missing;      ///< by a kernel whose clock has run out: the peer that it waited for, and 1
};

/// Memory of this GPU.
struct WindowTable {
    ncclWindow_t windows[kMostWindows];
    unsigned int is_broken;  ///< a wait has ended in vain: nothing is put any more
};

/// What all three kernels are told.
struct WindowGroup {
    ncclWindow_t words;  ///< [P] PeerWords
    WindowTable* table;
    WindowSignals* signals;
    long long most_cycles;  ///< of a wait
    int rank;
};

/// A message to a peer, the `number`th. Rows are of this GPU's memory, wherever.
struct PutMessage {
    const std::byte* rows;
    index_t bytes;
    std::uint64_t number;
    int peer;
};
/// A message from a peer, and its place in this rank's windows.
struct GrantMessage {
    std::uint64_t place;
    std::uint64_t number;
    int peer;
};

constexpr int kPlaceBits = 48;

/// Queues the messages on the context's stream. What is queued later on it finds them arrived, unless signals say otherwise.
/// @param piece_bytes  16, 4, 2 or 1: both ends and the length of each message are multiples of it
/// @pre at most kMostWindowRanks of each, of different peers
/// @throws CudaError
void queue_puts(const WindowGroup& group, std::span<const PutMessage> puts,
                std::span<const GrantMessage> grants, std::size_t piece_bytes, const Context& context);

}  // namespace sy::comm
