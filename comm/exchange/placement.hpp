#pragma once

#include <span>
#include <string>
#include <vector>

#include "kernels/core/types.hpp"

namespace sy::comm {

/// Expert -> rank of the expert-parallel group. A pure value; experts need not divide evenly by the ranks.
/// A rank's experts are numbered 0 .. L-1 locally, in ascending global order.
class Placement {
  public:
    /// @param rank_of_expert  [E] group rank of each expert
    /// @throws LogicError naming the expert whose rank does not exist
    Placement(std::vector<int> rank_of_expert, int num_ranks);

    index_t num_experts() const { return static_cast<index_t>(rank_of_expert_.size()); }
    int num_ranks() const { return num_ranks_; }
    int rank_of(index_t expert) const { return rank_of_expert_[static_cast<std::size_t>(expert)]; }
    /// Number of `expert` among the experts of its rank.
    index_t local_index(index_t expert) const { return local_index_[static_cast<std::size_t>(expert)]; }
    /// Global numbers of the experts of `rank`, ascending.
    std::vector<index_t> experts_of(int rank) const;
    /// "7 experts on 3 ranks: 0-2 | 3 4 | 5 6"
    std::string to_string() const;
    bool operator==(const Placement&) const = default;

  private:
    std::vector<int> rank_of_expert_;
    std::vector<index_t> local_index_;
    int num_ranks_;
};

/// Contiguous blocks; the first E % P ranks own one more. With more ranks than experts the last own none.
Placement block_placement(index_t num_experts, int num_ranks);

}  // namespace sy::comm
