#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "comm/communicator.hpp"
#include "kernels/core/types.hpp"

namespace sy::model {

/// An integer that orders as the float does: a < b gives score_key(a) < score_key(b). Zeros are equal, and NaN is below
/// everything.
std::uint32_t score_key(float score);

/// Who wants one of a limited number of places. I contenders on this rank, B bins with places of their own.
/// Contenders of lower ranks come before those of higher ones, and on a rank by index.
struct Contest {
    std::span<const std::int32_t> bin;  ///< [I] that a contender wants into; negative: takes no part
    std::span<const float> score;       ///< [I]; unread where it takes no part
    std::span<const index_t> places;    ///< [B] of each bin over all ranks
};

/// The highest scores of every bin win its places; of equal scores those that come first. A function of the contenders
/// in their global order alone, found without gathering them: the threshold of a bin is narrowed down from counts.
/// @param ranks  over which counts are added; null: this rank's contenders are all there are
/// @return       [I] 1 for a winner
/// @par Collective over `ranks`
/// @par Cost  at most 8 sums of 16 B integers over the ranks and one scan of B; one sum when every bin has room for all
std::vector<std::uint8_t> select_best(const Contest& contest, comm::Communicator* ranks);

}  // namespace sy::model
