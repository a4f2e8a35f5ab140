#pragma once

#include <string>
#include <vector>

#include "comm/axes.hpp"

/// Rows that change their owner: who sends which rows where. Pure values.
namespace sy::comm {

/// Rows of one matrix in the flat array of a rank.
struct HeldRows {
    index_t matrix = 0;  ///< number over all ranks
    Range rows;
    index_t cols = 0;
    index_t offset = 0;  ///< of the first element in the rank's array
    bool operator==(const HeldRows&) const = default;
};

/// What each rank holds. Every row is with one rank.
using RowOwners = PerRank<std::vector<HeldRows>>;

/// A move of some rows; source and destination may be the same rank.
struct Move {
    index_t matrix = 0;
    Range rows;
    index_t cols = 0;
    int source = 0;
    int destination = 0;
    index_t from = 0;  ///< first element in the source's old array
    index_t to = 0;    ///< and in the destination's new one

    index_t elements() const { return rows.size() * cols; }
    bool operator==(const Move&) const = default;
};

/// All moves of all ranks, by matrix and row.
struct MovePlan {
    std::vector<Move> moves;

    /// Elements that change their rank.
    index_t moved_elements() const;
    std::string to_string() const;
    bool operator==(const MovePlan&) const = default;
};

/// Moves every row from its owner before to its owner after.
/// @throws LogicError naming a row that would be lost, made up, doubled, or get another width
/// @par Cost  n log n in the pieces of all ranks
MovePlan plan_moves(const RowOwners& before, const RowOwners& after);

}  // namespace sy::comm
