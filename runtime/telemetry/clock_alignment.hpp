#pragma once

#include <cstdint>

#include "comm/communicator.hpp"

namespace sy::runtime {

/// How far the steady clock of rank 0 is ahead of this rank's, at one moment.
struct ClockSample {
    std::int64_t at_ns = 0;      ///< of this rank's clock; rank 0's is before any rank has its sample
    std::int64_t offset_ns = 0;  ///< rank 0's clock minus this rank's
    std::int64_t error_ns = 0;   ///< the offset is wrong by no more: half the round trip it was measured in
};

/// Every rank asks rank 0 for its time, again and again; the shortest round trip counts.
/// @par Collective over `world`
/// @par Source  F. Cristian, "Probabilistic clock synchronization", Distributed Computing 3 (1989)
ClockSample measure_clock(comm::Communicator& world);

/// Times of this rank's clock as rank 0's, of clocks that drift apart evenly between two samples.
class AlignedClock {
  public:
    AlignedClock(const ClockSample& begin, const ClockSample& end) : begin_(begin), end_(end) {}

    /// @param ns  of this rank's clock
    std::int64_t to_rank_0(std::int64_t ns) const;
    /// How far the clocks drift apart; 0 where the samples are of one moment.
    double drift_ppm() const;
    const ClockSample& begin() const { return begin_; }
    const ClockSample& end() const { return end_; }

  private:
    ClockSample begin_;
    ClockSample end_;
};

}  // namespace sy::runtime
