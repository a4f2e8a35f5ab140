#include "comm/exchange/placement.hpp"

namespace sy::comm {

Placement::Placement(std::vector<int> rank_of_expert, int num_ranks)
    : rank_of_expert_(std::move(rank_of_expert)), num_ranks_(num_ranks) {
    SY_REQUIRE(num_ranks >= 1, "placement: ", num_ranks, " ranks");
    local_index_.reserve(rank_of_expert_.size());
    std::vector<index_t> next(static_cast<std::size_t>(num_ranks), 0);
    for (std::size_t expert = 0; expert < rank_of_expert_.size(); ++expert) {
        const int rank = rank_of_expert_[expert];
        SY_REQUIRE(rank >= 0 && rank < num_ranks, "placement: expert ", expert, " of ",
                   rank_of_expert_.size(), " is on rank ", rank, " of ", num_ranks);
        local_index_.push_back(next[static_cast<std::size_t>(rank)]++);
    }
}

std::vector<index_t> Placement::experts_of(int rank) const {
    SY_REQUIRE(rank >= 0 && rank < num_ranks_, "placement: experts of rank ", rank, " of ", num_ranks_);
    std::vector<index_t> experts;
    for (index_t expert = 0; expert < num_experts(); ++expert) {
        if (rank_of(expert) == rank) experts.push_back(expert);
    }
    return experts;
}

std::string Placement::to_string() const {
    std::string text =
        concat(num_experts(), " experts on ", num_ranks_, num_ranks_ == 1 ? " rank:" : " ranks:");
    for (int rank = 0; rank < num_ranks_; ++rank) {
        const std::vector<index_t> experts = experts_of(rank);
        text += rank == 0 ? " " : " | ";
        if (experts.empty()) text += "-";
        for (std::size_t first = 0; first < experts.size();) {
            std::size_t last = first;
            while (last + 1 < experts.size() && experts[last + 1] == experts[last] + 1) ++last;
            text += concat(first == 0 ? "" : " ", experts[first]);
            if (last > first) text += concat(last == first + 1 ? " " : "-", experts[last]);
            first = last + 1;
        }
    }
    return text;
}

Placement block_placement(index_t num_experts, int num_ranks) {
    SY_REQUIRE(num_experts >= 0 && num_ranks >= 1, "placement: ", num_experts, " experts on ", num_ranks,
               " ranks");
    std::vector<int> rank_of_expert;
    rank_of_expert.reserve(static_cast<std::size_t>(num_experts));
    for (int rank = 0; rank < num_ranks; ++rank) {
        rank_of_expert.insert(rank_of_expert.end(),
                              static_cast<std::size_t>(part_of(num_experts, num_ranks, rank).size()), rank);
    }
    return Placement(std::move(rank_of_expert), num_ranks);
}

}  // namespace sy::comm
