#pragma once

#include <cstdint>

namespace sy::emulation {

/// Faults that a test plants in the stand-in for NCCL. Ranks are those of whatever communicator.
struct NcclFaults {
    int absent_rank = -1;   ///< it never gets connected, as if it were not there: the others wait for it
    int silent_rank = -1;   ///< its operations never begin, as of a GPU that hangs
    int failing_rank = -1;  ///< it ends in an asynchronous error, of which the others are told
    std::uint64_t operation = 0;  ///< from which group of operations on the last two do that, counted from 0
    int lsa_ranks =
        0;  ///< so many ranks reach each other's memory by loads and stores; 0: all of a communicator
    std::uint64_t max_delay = 0;  ///< an operation begins up to so many polls late, as drawn by the seed
};

/// Changed while nothing is queued.
NcclFaults& nccl_faults();

}  // namespace sy::emulation
