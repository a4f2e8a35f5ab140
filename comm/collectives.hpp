#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "comm/communicator.hpp"
#include "comm/native_collectives.hpp"
#include "kernels/core/exact_sum.hpp"

/// Collectives with deadlines, over point-to-point messages or the library's own where these were measured to be faster
/// (Communicator::native_collectives; runtime/bench/README.md). Every function here is
/// @par Collective over `comm`, called by all its ranks in the same order.
/// @throws TimeoutError when a rank has not come after the communicator's deadline, which is then of no more use; CommError
/// Sums of floats are added in ascending rank order, so they are the same on every run and on every rank; sums of
/// integers are modulo 2^n.
/// Tags from kMaxTag + 1 are reserved for this file.
namespace sy::comm {

/// In place on every rank: values = op over ranks. T: float, double, int32_t, int64_t, uint64_t.
/// Maximum and minimum of floats compare in ascending rank order: of equal values (0.0 and -0.0) the lowest rank's stays, a
/// NaN of rank 0 stays, and NaN of other ranks counts for nothing.
/// @par Cost  short messages: log2(P) rounds; long ones: reduce-scatter then all-gather, 2 (P-1)/P bytes a rank
template <class T>
void all_reduce(Communicator& comm, std::span<T> values, ReduceOp op = ReduceOp::sum);

/// In place on every rank: sums[i] = the sum of the sums[i] of all ranks (at most 2^20), to the bit.
void all_reduce(Communicator& comm, std::span<ExactSum> sums);

/// Rank r receives the sum over ranks of values[offsets[r] .. offsets[r+1]).
/// @param values   this rank's addends, all parts
/// @param offsets  [P+1], the same on all ranks
/// @param part     receives this rank's part; may alias its own place in `values`
template <class T>
void reduce_scatter(Communicator& comm, std::span<const T> values, std::span<const index_t> offsets,
                    std::span<T> part);

/// Parts of given sizes from all ranks, in rank order. `values` holds all parts; this rank's own is in place.
template <class T>
void all_gather(Communicator& comm, std::span<T> values, std::span<const index_t> offsets);

/// Equal counts: gathered[r * mine.size() ...] = mine of rank r.
/// @par Cost  short messages: log2(P) rounds
template <class T>
std::vector<T> all_gather(Communicator& comm, std::span<const T> mine);

/// values[i] = sum of the values[i] of all lower ranks (0 on rank 0). @return totals over all ranks
/// @par Cost  integers: 2 log2(P) rounds; floats, which need their order: an all_gather
template <class T>
std::vector<T> exscan(Communicator& comm, std::span<T> values);

template <class T>
void broadcast(Communicator& comm, std::span<T> values, int root);

/// Strings of any length from every rank, in rank order.
std::vector<std::string> all_gather(Communicator& comm, const std::string& mine);

/// Returns on no rank before all ranks have called it.
void barrier(Communicator& comm);

/// A started all-to-all, which wait() completes.
class PendingExchange {
  public:
    PendingExchange() = default;
    PendingExchange(Communicator& comm, std::vector<std::unique_ptr<Request>> requests, std::string doing);
    PendingExchange(PendingExchange&&) noexcept = default;
    PendingExchange& operator=(PendingExchange&&) noexcept = default;

    /// Makes progress without blocking; true when all of it has arrived.
    bool test();
    /// @par Waits  until all of it has arrived, at most the communicator's deadline @throws TimeoutError, CommError
    void wait();

  private:
    Communicator* comm_ = nullptr;
    std::vector<std::unique_ptr<Request>> requests_;
    std::string doing_;
};

/// Starts: bytes [send_offsets[r], send_offsets[r+1]) of `send` go to every other rank r, and
/// [receive_offsets[r], receive_offsets[r+1]) of `receive` come from it. Both offsets [P+1], in bytes, from 0 to the
/// size of their buffer.
/// Empty parts send no message. This rank's own parts are neither read nor written: their owner fills them.
/// @param tag  0 .. kMaxTag; distinct for exchanges under way at the same time
/// @par Buffers  until wait() has returned the parts of `send` for others may be read but not written, those of `receive`
///               from others neither, and both must live; this rank's own parts are the caller's; offsets are read at once
/// @par Waits    never
PendingExchange start_exchange_with_others(Communicator& comm, std::span<const std::byte> send,
                                           std::span<const index_t> send_offsets,
                                           std::span<std::byte> receive,
                                           std::span<const index_t> receive_offsets, int tag,
                                           std::string doing);

/// The same, with this rank's own part copied at once.
/// @par Buffers  as start_exchange_with_others; the own part has been copied when the call returns
/// @par Waits    never
PendingExchange start_all_to_all_v(Communicator& comm, std::span<const std::byte> send,
                                   std::span<const index_t> send_offsets, std::span<std::byte> receive,
                                   std::span<const index_t> receive_offsets, int tag, std::string doing);

/// One value to and from every rank: result[r] = values[this rank] of rank r.
template <class T>
std::vector<T> all_to_all(Communicator& comm, std::span<const T> values);

/// Sum of doubles that does not depend on grouping or order of the addends: all ranks agree on the largest
/// exponent, then add integers of 78 bits and more. An addend is rounded to 2^-78 of the largest one's power of two.
/// Any number of addends; NaN when one of them is not finite.
/// @return the same bits on every rank and for every distribution of the addends over ranks
/// @par Source  common-exponent fixed point, as in Demmel and Nguyen, "Parallel reproducible summation" (2015)
double reproducible_sum(Communicator& comm, std::span<const double> addends);

}  // namespace sy::comm
