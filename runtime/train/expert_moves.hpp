#pragma once

#include <span>

#include "comm/gradient_sync/bucket_plan.hpp"
#include "comm/relocation/move_plan.hpp"
#include "comm/topology/topology.hpp"
#include "model/parameters/parameters.hpp"

namespace sy::runtime {

/// How the rows of a layout are sharded over the ranks that hold the same matrices: the owners of their optimizer state.
comm::BucketPlan shard_rows(const model::FlatLayout& layout, int num_ranks);

/// What travels when experts get other places. Pure values, the same on every rank.
struct ExpertMoves {
    comm::MovePlan weights;  ///< between the ranks of an expert-parallel group; arrays are flat weights
    comm::MovePlan moments;  ///< between world ranks; arrays are the moments that a rank owns
    bool operator==(const ExpertMoves&) const = default;
};

/// @throws LogicError when a row would be lost or doubled
ExpertMoves plan_expert_moves(std::span<const model::ParameterSpec> specs, const comm::Placements& before,
                              const comm::Placements& after, const comm::ProcessGrid& grid);

}  // namespace sy::runtime
