#pragma once

#include "comm/communicator.hpp"

namespace sy::comm {

enum class ReduceOp { sum, max, min };

enum class IntegerType { int32, int64, uint64 };

/// An array of integers whose type is known at run time only.
struct IntegerSpan {
    std::span<std::byte> bytes;
    IntegerType type = IntegerType::int64;
};

/// Collectives of a message library, which its vendor has tuned for the machine. comm/collectives.hpp checks arguments,
/// decides when these are used, and waits; nobody else calls them. Results are those of the functions there with the same
/// names: integers only, since the order in which a library adds floats and what it makes of NaN are its own.
///
/// Each starts an operation that all ranks start in the same order.
/// @par Buffers  belong to the operation until its request is complete. A request that is dropped earlier, as after a
///               time-out, leaves them alone from then on: what the library still reads and writes is memory of its own.
/// @par Waits    never
class NativeCollectives {
  public:
    virtual ~NativeCollectives() = default;

    /// In place: values = op over ranks; sums modulo 2^n.
    virtual std::unique_ptr<Request> all_reduce(IntegerSpan values, ReduceOp op) = 0;
    /// In place: values = sum over lower ranks modulo 2^n; undefined on rank 0.
    virtual std::unique_ptr<Request> exscan(IntegerSpan values) = 0;
    /// In place: part r of `bytes`, which begins at offsets[r], comes from rank r.
    virtual std::unique_ptr<Request> all_gather(std::span<std::byte> bytes,
                                                std::span<const index_t> offsets) = 0;
    virtual std::unique_ptr<Request> barrier() = 0;
};

}  // namespace sy::comm
