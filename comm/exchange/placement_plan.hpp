#pragma once

#include "comm/exchange/placement.hpp"

/// Placements from measured load: pure functions, the same on every rank. E experts, P ranks of the expert-parallel
/// group, S = ceil(E / P) + spare_experts copies that a rank may hold. Where P does not divide E, some places are left
/// without spare ones too; copies fill them, for the rank that holds most holds no more by that.
namespace sy::comm {

struct PlacementRules {
    index_t spare_experts = 0;  ///< places of a rank beyond its even share
    /// Equal runs of experts that stay on one node, where they fit (group-limited routing); 0: each by itself.
    index_t groups = 0;
    /// Loads this close to the lowest highest load found, relative to it, are as good.
    double tolerance = 0.02;
};

/// Load of each rank when the copies of an expert get even shares.
/// @param load  [E] choices of each expert
PerRank<double> rank_loads(PerExpertSpan<const index_t> load, const Placement& placement);

/// Highest rank load over the mean; 1 when there is no load.
double rank_imbalance(PerExpertSpan<const index_t> load, const Placement& placement);

/// Experts whose primary is on another rank: whose weights and moments travel.
index_t num_moved(const Placement& before, const Placement& after);

/// The placement with the lowest highest rank load that a hierarchical greedy search finds: groups of experts go to
/// nodes, free places of a node to experts with the highest load per copy, copies to ranks of the node. Each time the
/// heaviest goes first, to where it loads least, and then moves and exchanges take load off the heaviest (packing.hpp).
/// Shadows are as few as that takes. Among placements within the tolerance, the one that moves the fewest experts:
///   1. `previous`, when it is one of them, or better than all of them;
///   2. `previous` after the moves and exchanges that it needs;
///   3. the search's own, with nodes and ranks named so that they keep most of what they hold.
/// The same load again moves nothing.
/// @param load          [E] choices since the last placement; all zero: `previous` stays
/// @param node_of_rank  [P] node of each rank of the group
/// @throws LogicError when sizes differ or rules cannot be kept
/// @par Cost    one packing of each node for every number of shadows it may have, until one is within the tolerance
/// @par Source  the hierarchical policy of EPLB, github.com/deepseek-ai/EPLB (DeepSeek-V3, arXiv:2412.19437, 3.4)
Placement plan_placement(PerExpertSpan<const index_t> load, PerRankSpan<const int> node_of_rank,
                         const Placement& previous, const PlacementRules& rules);

}  // namespace sy::comm
