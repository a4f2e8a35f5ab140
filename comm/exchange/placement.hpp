#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "comm/axes.hpp"

namespace sy::comm {

/// The experts that a rank holds, as it numbers them.
struct LocalExpertAxis;

/// An extra copy of an expert on a rank that does not hold its primary.
struct Shadow {
    index_t expert = 0;
    int rank = 0;
    bool operator==(const Shadow&) const = default;
};

/// Expert -> ranks of the expert-parallel group. A pure value; experts need not divide evenly by the ranks.
/// One copy of an expert, the *primary*, owns its gradient, optimizer state and place in checkpoints; others, *shadows*,
/// hold its weights and compute. A rank's experts are numbered 0 .. L-1 locally: primaries, then shadows, each in
/// ascending global order.
class Placement {
  public:
    /// @param rank_of_expert  [E] group rank of each primary
    /// @throws LogicError naming the expert whose rank does not exist, or that a rank would hold twice
    Placement(PerExpert<int> rank_of_expert, int num_ranks, std::vector<Shadow> shadows = {});

    index_t num_experts() const { return rank_of_expert_.size(); }
    index_t num_shadows() const { return copy_offsets_.total() - num_experts(); }
    int num_ranks() const { return num_ranks_; }
    /// Rank of the primary.
    int rank_of(index_t expert) const { return rank_of_expert_[expert]; }
    /// Ranks that hold the expert, ascending.
    std::span<const int> copies_of(index_t expert) const {
        return part<const int>(copies_, copy_offsets_[expert]);
    }
    /// The copy that computes the choices which a sequence on rank `source` makes of `expert`: the source's own if it
    /// has one, else the copies take turns. Sequences are never split, so that the products behind a weight gradient
    /// are the same as without shadows. Copies get even shares when ranks hold equally many sequences.
    /// @param sequence  global number
    int rank_for(index_t expert, int source, index_t sequence) const;

    std::vector<index_t> primaries_of(int rank) const;
    std::vector<index_t> shadows_of(int rank) const;
    /// Global numbers of the experts of `rank` in local order.
    Indexed<LocalExpertAxis, index_t> experts_of(int rank) const;
    /// "7 experts on 3 ranks: 0-2 | 3 4 | 5 6"; shadows follow a plus: "0-2 + 5 | 3 4 | 5 6 + 0"
    std::string to_string() const;
    bool operator==(const Placement&) const = default;

  private:
    PerExpert<int> rank_of_expert_;
    Offsets<ExpertAxis> copy_offsets_;  ///< into copies_
    std::vector<int> copies_;
    int num_ranks_;
};

/// Contiguous blocks; the first E % P ranks own one more. With more ranks than experts the last own none.
Placement block_placement(index_t num_experts, int num_ranks);

/// The placement of each mixture layer, by its number: loads differ from layer to layer, and so may placements.
using Placements = std::map<index_t, Placement>;

/// Blocks for every layer that is a mixture.
Placements block_placements(const std::vector<bool>& is_mixture, index_t num_experts, int num_ranks);

}  // namespace sy::comm
