#include "comm/exchange/placement.hpp"

#include <algorithm>

namespace sy::comm {
namespace {

/// "0-2 5 7 8"
std::string runs(const std::vector<index_t>& experts) {
    std::string text;
    for (std::size_t first = 0; first < experts.size();) {
        std::size_t last = first;
        while (last + 1 < experts.size() && experts[last + 1] == experts[last] + 1) ++last;
        text += concat(first == 0 ? "" : " ", experts[first]);
        if (last > first) text += concat(last == first + 1 ? " " : "-", experts[last]);
        first = last + 1;
    }
    return text;
}

}  // namespace

Placement::Placement(PerExpert<int> rank_of_expert, int num_ranks, std::vector<Shadow> shadows)
    : rank_of_expert_(std::move(rank_of_expert)), num_ranks_(num_ranks) {
    SY_REQUIRE(num_ranks >= 1, "placement: ", num_ranks, " ranks");
    PerExpert<std::vector<int>> ranks(num_experts());
    const auto add = [&](index_t expert, int rank, const char* what) {
        SY_REQUIRE(rank >= 0 && rank < num_ranks, "placement: ", what, " ", expert, " of ", num_experts(),
                   " is on rank ", rank, " of ", num_ranks);
        ranks[expert].push_back(rank);
    };
    for (index_t expert = 0; expert < num_experts(); ++expert) add(expert, rank_of(expert), "expert");
    for (const Shadow& shadow : shadows) {
        SY_REQUIRE(shadow.expert >= 0 && shadow.expert < num_experts(), "placement: a shadow of expert ",
                   shadow.expert, " of ", num_experts());
        add(shadow.expert, shadow.rank, "shadow of expert");
    }
    for (index_t expert = 0; expert < num_experts(); ++expert) {
        std::vector<int>& copies = ranks[expert];
        std::sort(copies.begin(), copies.end());
        const auto twice = std::adjacent_find(copies.begin(), copies.end());
        SY_REQUIRE(twice == copies.end(), "placement: rank ", *twice, " would hold expert ", expert,
                   " twice");
        copies_.insert(copies_.end(), copies.begin(), copies.end());
        copy_offsets_.append(static_cast<index_t>(copies.size()));
    }
}

int Placement::rank_for(index_t expert, int source, index_t sequence) const {
    const std::span<const int> copies = copies_of(expert);
    if (copies.size() == 1) return copies.front();
    if (std::binary_search(copies.begin(), copies.end(), source)) return source;
    return copies[static_cast<std::size_t>(sequence) % copies.size()];
}

std::vector<index_t> Placement::primaries_of(int rank) const {
    SY_REQUIRE(rank >= 0 && rank < num_ranks_, "placement: experts of rank ", rank, " of ", num_ranks_);
    std::vector<index_t> experts;
    for (index_t expert = 0; expert < num_experts(); ++expert) {
        if (rank_of(expert) == rank) experts.push_back(expert);
    }
    return experts;
}

std::vector<index_t> Placement::shadows_of(int rank) const {
    SY_REQUIRE(rank >= 0 && rank < num_ranks_, "placement: shadows of rank ", rank, " of ", num_ranks_);
    std::vector<index_t> experts;
    for (index_t expert = 0; expert < num_experts(); ++expert) {
        const std::span<const int> copies = copies_of(expert);
        if (rank_of(expert) != rank && std::binary_search(copies.begin(), copies.end(), rank))
            experts.push_back(expert);
    }
    return experts;
}

Indexed<LocalExpertAxis, index_t> Placement::experts_of(int rank) const {
    std::vector<index_t> experts = primaries_of(rank);
    const std::vector<index_t> shadows = shadows_of(rank);
    experts.insert(experts.end(), shadows.begin(), shadows.end());
    return Indexed<LocalExpertAxis, index_t>(std::move(experts));
}

std::string Placement::to_string() const {
    std::string text =
        concat(num_experts(), " experts on ", num_ranks_, num_ranks_ == 1 ? " rank:" : " ranks:");
    for (int rank = 0; rank < num_ranks_; ++rank) {
        const std::vector<index_t> primaries = primaries_of(rank);
        const std::vector<index_t> shadows = shadows_of(rank);
        text += rank == 0 ? " " : " | ";
        text += primaries.empty() ? "-" : runs(primaries);
        if (!shadows.empty()) text += " + " + runs(shadows);
    }
    return text;
}

Placement block_placement(index_t num_experts, int num_ranks) {
    SY_REQUIRE(num_experts >= 0 && num_ranks >= 1, "placement: ", num_experts, " experts on ", num_ranks,
               " ranks");
    PerExpert<int> rank_of_expert(num_experts);
    for (int rank = 0; rank < num_ranks; ++rank) {
        const Range experts = part_of(num_experts, num_ranks, rank);
        std::fill(rank_of_expert.begin() + experts.begin, rank_of_expert.begin() + experts.end, rank);
    }
    return Placement(std::move(rank_of_expert), num_ranks);
}

Placements block_placements(const std::vector<bool>& is_mixture, index_t num_experts, int num_ranks) {
    Placements placements;
    for (std::size_t layer = 0; layer < is_mixture.size(); ++layer) {
        if (is_mixture[layer])
            placements.emplace(static_cast<index_t>(layer), block_placement(num_experts, num_ranks));
    }
    return placements;
}

}  // namespace sy::comm
