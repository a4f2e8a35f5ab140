#include "comm/nccl/put_rows.hpp"

#include <nccl_device.h>

#include <algorithm>

#include "kernels/cuda/launch.hpp"
#include "kernels/cuda/pieces.hpp"

namespace sy::comm {
namespace {

/// Arguments of kernels.
template <class Message>
struct Messages {
    Message each[kMostWindowRanks] = {};
    int count = 0;
};
/// A message that is waited for, or told of.
struct Numbered {
    std::uint64_t number;
    int peer;
};

constexpr unsigned kThreads = 128;

/// Words of other GPUs are read and written as they are: the compiler keeps accesses to volatile memory, and on the device
/// they are those of the whole system, in no order but for fences.
__device__ volatile PeerWords* words_from(const WindowGroup& group, int peer) {
    return static_cast<volatile PeerWords*>(
        ncclGetLocalPointer(group.words, static_cast<std::size_t>(peer) * sizeof(PeerWords)));
}
__device__ volatile PeerWords* words_at(const WindowGroup& group, int peer) {
    return static_cast<volatile PeerWords*>(
        ncclGetLsaPointer(group.words, static_cast<std::size_t>(group.rank) * sizeof(PeerWords), peer));
}

/// Waits until the word has come to `number`. A peer that does not answer ends it: when the host says so, or by the clock,
/// should the host itself wait for this kernel.
__device__ void wait_for(const volatile unsigned long long& word, const Numbered& message,
                         const WindowGroup& group) {
    constexpr int kBusySpins = 256;
    const long long start = clock64();
    for (int spins = 0; word < message.number; ++spins) {
        if (spins < kBusySpins) continue;
        volatile WindowSignals* const signals = group.signals;
        const bool is_late = clock64() - start > group.most_cycles;
        if (is_late) signals->missing = static_cast<unsigned>(message.peer) + 1;
        if (is_late || signals->is_given_up != 0) {
            *static_cast<volatile unsigned*>(&group.table->is_broken) = 1;
            return;
        }
        __nanosleep(100);
    }
    // What the peer had written before the word is seen from here on.
    __threadfence_system();
}

__device__ bool is_broken(const WindowGroup& group) {
    return *static_cast<volatile unsigned*>(&group.table->is_broken) != 0;
}

/// Tells each source where its rows may go, and waits for the places of this rank's own.
__global__ void grant_places(WindowGroup group, Messages<GrantMessage> grants, Messages<Numbered> puts) {
    if (is_broken(group)) return;
    for (int i = static_cast<int>(threadIdx.x); i < grants.count; i += static_cast<int>(blockDim.x)) {
        volatile PeerWords* const theirs = words_at(group, grants.each[i].peer);
        theirs->place = grants.each[i].place;
        // Before the number, which says that the place can be read.
        __threadfence_system();
        theirs->granted = grants.each[i].number;
    }
    for (int i = static_cast<int>(threadIdx.x); i < puts.count; i += static_cast<int>(blockDim.x))
        wait_for(words_from(group, puts.each[i].peer)->granted, puts.each[i], group);
}

/// A message for each block along y.
template <class Piece>
__global__ void put_rows(WindowGroup group, Messages<PutMessage> puts) {
    if (is_broken(group)) return;
    const PutMessage& message = puts.each[blockIdx.y];
    const auto place = static_cast<std::uint64_t>(words_from(group, message.peer)->place);
    const std::size_t offset = place & ((std::uint64_t{1} << kPlaceBits) - 1);
    auto* const to = static_cast<Piece*>(
        ncclGetLsaPointer(group.table->windows[place >> kPlaceBits], offset, message.peer));
    const auto* const from = reinterpret_cast<const Piece*>(message.rows);
    const index_t count = message.bytes / static_cast<index_t>(sizeof(Piece));
    const index_t step = static_cast<index_t>(gridDim.x) * blockDim.x;
    for (index_t i = static_cast<index_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += step)
        to[i] = from[i];
    __threadfence_system();
}

/// Tells each destination that its rows are there, and waits for this rank's.
__global__ void finish_puts(WindowGroup group, Messages<Numbered> puts, Messages<Numbered> arrivals) {
    if (is_broken(group)) return;
    __threadfence_system();
    for (int i = static_cast<int>(threadIdx.x); i < puts.count; i += static_cast<int>(blockDim.x))
        words_at(group, puts.each[i].peer)->arrived = puts.each[i].number;
    for (int i = static_cast<int>(threadIdx.x); i < arrivals.count; i += static_cast<int>(blockDim.x))
        wait_for(words_from(group, arrivals.each[i].peer)->arrived, arrivals.each[i], group);
}

template <class Message>
Messages<Message> all_of(std::span<const Message> messages) {
    Messages<Message> all;
    std::ranges::copy(messages, all.each);
    all.count = static_cast<int>(messages.size());
    return all;
}
template <class Message>
Messages<Numbered> numbers_of(std::span<const Message> messages) {
    Messages<Numbered> all;
    for (const Message& message : messages) all.each[all.count++] = {message.number, message.peer};
    return all;
}

}  // namespace

void queue_puts(const WindowGroup& group, std::span<const PutMessage> puts,
                std::span<const GrantMessage> grants, std::size_t piece_bytes, const Context& context) {
    const Messages<Numbered> put_numbers = numbers_of(puts);
    cuda::launch(context, {1, kThreads}, grant_places, group, all_of(grants), put_numbers);
    if (!puts.empty()) {
        const index_t longest = std::ranges::max(puts, {}, &PutMessage::bytes).bytes;
        // A GPU's links are busy with fewer threads than its memory.
        constexpr index_t kPiecesOfThread = 4;
        constexpr unsigned kMostBlocksOfMessage = 64;
        cuda::with_pieces(piece_bytes, [&]<class Piece>() {
            const index_t pieces = longest / static_cast<index_t>(sizeof(Piece));
            const unsigned across =
                std::min(kMostBlocksOfMessage, cuda::num_blocks(pieces, kThreads * kPiecesOfThread));
            cuda::launch(context, {{across, static_cast<unsigned>(puts.size())}, kThreads}, put_rows<Piece>,
                         group, all_of(puts));
        });
    }
    cuda::launch(context, {1, kThreads}, finish_puts, group, put_numbers, numbers_of(grants));
}

}  // namespace sy::comm
