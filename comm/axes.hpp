#pragma once

#include "kernels/core/offsets.hpp"

/// Axes of what ranks hold and exchange.
namespace sy::comm {

struct RankAxis;
struct NodeAxis;

template <class T>
using PerRank = Indexed<RankAxis, T>;
template <class T>
using PerRankSpan = IndexedSpan<RankAxis, T>;
template <class T>
using PerNode = Indexed<NodeAxis, T>;

/// What goes to or comes from each rank.
using RankOffsets = Offsets<RankAxis>;

}  // namespace sy::comm
