#include "comm/exchange/placement_plan.hpp"

#include <algorithm>
#include <functional>
#include <limits>
#include <numeric>
#include <optional>

#include "comm/exchange/packing.hpp"

namespace sy::comm {
namespace {

/// Whether things stay where they were in the previous placement, as far as loads allow.
enum class Homes { ignored, kept };

struct MemberAxis;

/// Experts that share a bin: a node, or a rank of one.
using Experts = Indexed<MemberAxis, index_t>;
using Bins = PerBin<Experts>;

/// Experts of each rank.
using Held = PerRank<Experts>;

/// What the ranks of one node hold, not yet by name.
struct NodePlan {
    Bins copies;           ///< [ranks of the node]
    double highest = 0.0;  ///< load of a rank
    index_t num_shadows = 0;
};

class Planner {
  public:
    Planner(PerExpertSpan<const index_t> load, PerRankSpan<const int> node_of_rank, const Placement& previous,
            const PlacementRules& rules)
        : load_(load), previous_(previous), rules_(rules) {
        const index_t experts = previous.num_experts();
        SY_REQUIRE(load.size() == experts, "placement plan: loads of ", load.size(), " experts for ",
                   previous.to_string());
        SY_REQUIRE(node_of_rank.size() == previous.num_ranks(), "placement plan: nodes of ",
                   node_of_rank.size(), " ranks for ", previous.to_string());
        SY_REQUIRE(rules.spare_experts >= 0 && rules.tolerance >= 0.0 && rules.groups >= 0 &&
                       (rules.groups == 0 || experts % rules.groups == 0),
                   "placement plan: ", rules.spare_experts, " spare places, tolerance ", rules.tolerance,
                   ", ", rules.groups, " groups of ", experts, " experts");
        even_places_ = ceil_div(experts, previous.num_ranks());
        for (int rank = 0; rank < previous.num_ranks(); ++rank) {
            const index_t known = std::ranges::find(node_of_rank, node_of_rank[rank]) - node_of_rank.begin();
            if (known == rank) {
                node_of_.push_back(static_cast<int>(ranks_.size()));
                ranks_.emplace_back();
            } else {
                node_of_.push_back(node_of_[known]);
            }
            ranks_[node_of_.back()].push_back(rank);
        }
    }

    Placement plan() const {
        if (std::ranges::all_of(load_, [](index_t count) { return count == 0; })) return previous_;
        Experts all(load_.size());
        std::iota(all.begin(), all.end(), 0);
        const Bins nodes = pack_nodes(Homes::ignored, tolerated(mean_load(all, node_of_.size())));
        double highest = 0.0;
        for (index_t node = 0; node < nodes.size(); ++node)
            highest = std::max(highest, lowest_load(nodes[node], node));
        // Better than anything found now: the local search has been luckier before.
        const double now = load_of_previous();
        if (now < highest) return previous_;
        const double limit = tolerated(highest);
        PerBin<NodePlan> found;
        index_t num_shadows = 0;
        for (index_t node = 0; node < nodes.size(); ++node) {
            const std::optional<NodePlan> plan = fewest_shadows(nodes[node], node, limit, Homes::ignored);
            SY_REQUIRE(plan, "placement plan: a load of ", limit, " a rank was found and lost on node ",
                       node);
            found.push_back(*plan);
            num_shadows += found.back().num_shadows;
        }
        if (now <= limit && previous_.num_shadows() <= num_shadows) return previous_;
        const Placement moved = name_ranks(found, name_nodes(nodes));
        const std::optional<Placement> stayed = stay(nodes, limit);
        const bool as_good = stayed && stayed->num_shadows() <= num_shadows &&
                             num_moved(previous_, *stayed) <= num_moved(previous_, moved);
        return as_good ? *stayed : moved;
    }

  private:
    double load_of(index_t expert) const { return static_cast<double>(load_[expert]); }
    double mean_load(const Experts& experts, index_t num_ranks) const {
        double sum = 0.0;
        for (const index_t expert : experts) sum += load_of(expert);
        return sum / static_cast<double>(num_ranks);
    }
    /// With room for sums whose order differs, whatever the tolerance.
    double tolerated(double load) const { return (1.0 + rules_.tolerance + 1e-9) * load; }

    /// Experts of each node. @param limit  load per rank that need not be made any lower
    Bins pack_nodes(Homes homes, double limit) const {
        std::optional<Bins> nodes;
        if (rules_.groups > 0) nodes = pack_groups(previous_.num_experts() / rules_.groups, homes, limit);
        return nodes ? *nodes : *pack_groups(1, homes, limit);
    }

    std::optional<Bins> pack_groups(index_t group_size, Homes homes, double limit) const {
        PerItem<Item> groups;
        for (index_t first = 0; first < previous_.num_experts(); first += group_size) {
            Item& group = groups.emplace_back(Item{0.0, group_size, first, kNowhere});
            PerBin<index_t> experts_on(ranks_.size(), 0);
            for (index_t expert = first; expert < first + group_size; ++expert) {
                group.weight += load_of(expert);
                ++experts_on[node_of_[previous_.rank_of(expert)]];
            }
            if (homes == Homes::kept)
                group.home = static_cast<int>(std::ranges::max_element(experts_on) - experts_on.begin());
        }
        PerBin<Bin> bins;
        for (const PerBin<int>& ranks : ranks_)
            bins.push_back({ranks.size() * even_places_, static_cast<double>(ranks.size())});
        sort_heaviest_first(groups);
        PerItem<int> node_of = pack(groups, bins);
        lighten(groups, bins, limit, node_of);
        Bins nodes(ranks_.size());
        for (index_t i = 0; i < groups.size(); ++i) {
            if (node_of[i] == kNowhere) return {};
            for (index_t expert = groups[i].label; expert < groups[i].label + group_size; ++expert)
                nodes[node_of[i]].push_back(expert);
        }
        for (Experts& experts : nodes) std::ranges::sort(experts);
        return nodes;
    }

    static void sort_heaviest_first(PerItem<Item>& items) {
        std::ranges::stable_sort(items, std::greater<>(), &Item::weight);
    }

    /// As many as the node has places for, those that an uneven share of experts leaves among them.
    index_t most_shadows(const Experts& experts, index_t node) const {
        const index_t ranks = ranks_[node].size();
        return std::min(ranks * (even_places_ + rules_.spare_experts), ranks * experts.size()) -
               experts.size();
    }

    /// Copies of each expert: shadows one by one to the highest load per copy.
    Indexed<MemberAxis, index_t> count_copies(const Experts& experts, index_t num_shadows,
                                              index_t node) const {
        Indexed<MemberAxis, index_t> copies(experts.size(), 1);
        for (index_t shadow = 0; shadow < num_shadows; ++shadow) {
            std::optional<index_t> hottest;
            const auto share = [&](index_t i) {
                return load_of(experts[i]) / static_cast<double>(copies[i]);
            };
            for (index_t i = 0; i < experts.size(); ++i) {
                const bool can_have_more = copies[i] < ranks_[node].size();
                if (can_have_more && (!hottest || share(i) > share(*hottest))) hottest = i;
            }
            if (hottest) ++copies[*hottest];
        }
        return copies;
    }

    /// Positions in the node for so many copies of an expert: of the ranks that hold it now, its primary's first.
    PerItem<int> homes_of(index_t expert, index_t node, index_t num_copies, Homes keep) const {
        PerItem<int> homes;
        for (int place = 0; place < ranks_[node].size() && keep == Homes::kept; ++place) {
            const int rank = ranks_[node][place];
            if (std::ranges::count(previous_.copies_of(expert), rank) == 0) continue;
            homes.push_back(place);
            if (rank == previous_.rank_of(expert)) std::rotate(homes.begin(), homes.end() - 1, homes.end());
        }
        homes.resize(num_copies, kNowhere);
        return homes;
    }

    NodePlan pack_node(const Experts& experts, index_t node, index_t num_shadows, Homes keep,
                       double limit) const {
        const Indexed<MemberAxis, index_t> wanted = count_copies(experts, num_shadows, node);
        PerItem<Item> items;
        for (index_t i = 0; i < experts.size(); ++i) {
            const double weight = load_of(experts[i]) / static_cast<double>(wanted[i]);
            for (const int home : homes_of(experts[i], node, wanted[i], keep))
                items.push_back({weight, 1, experts[i], home});
        }
        const PerBin<Bin> bins(ranks_[node].size(), Bin{even_places_ + rules_.spare_experts});
        sort_heaviest_first(items);
        PerItem<int> bin_of = pack(items, bins);
        // A further copy finds no room when all free places are with ranks that have the expert.
        PerExpert<index_t> copies(load_.size(), 0);
        for (index_t i = 0; i < items.size(); ++i) copies[items[i].label] += bin_of[i] == kNowhere ? 0 : 1;
        for (Item& item : items) item.weight = load_of(item.label) / static_cast<double>(copies[item.label]);
        lighten(items, bins, limit, bin_of);
        NodePlan plan;
        plan.copies.resize(ranks_[node].size());
        for (index_t i = 0; i < items.size(); ++i) {
            if (bin_of[i] != kNowhere) plan.copies[bin_of[i]].push_back(items[i].label);
        }
        for (Experts& held : plan.copies) {
            std::ranges::sort(held);
            double sum = 0.0;
            for (const index_t expert : held) sum += load_of(expert) / static_cast<double>(copies[expert]);
            plan.highest = std::max(plan.highest, sum);
        }
        for (const index_t expert : experts) {
            SY_REQUIRE(copies[expert] > 0, "placement plan: no room for expert ", expert);
            plan.num_shadows += copies[expert] - 1;
        }
        return plan;
    }

    /// Lowest highest load of a rank with any number of shadows.
    double lowest_load(const Experts& experts, index_t node) const {
        const double limit = tolerated(mean_load(experts, ranks_[node].size()));
        double lowest = std::numeric_limits<double>::infinity();
        for (index_t shadows = 0; shadows <= most_shadows(experts, node) && lowest > limit; ++shadows)
            lowest = std::min(lowest, pack_node(experts, node, shadows, Homes::ignored, limit).highest);
        return lowest;
    }

    std::optional<NodePlan> fewest_shadows(const Experts& experts, index_t node, double limit,
                                           Homes homes) const {
        for (index_t shadows = 0; shadows <= most_shadows(experts, node); ++shadows) {
            NodePlan plan = pack_node(experts, node, shadows, homes, limit);
            if (plan.highest <= limit) return plan;
        }
        return {};
    }

    /// Highest load of a rank in the previous placement; infinite when a rank has more copies than it may hold.
    double load_of_previous() const {
        for (int rank = 0; rank < previous_.num_ranks(); ++rank) {
            const index_t held = previous_.experts_of(rank).size();
            if (held > even_places_ + rules_.spare_experts) return std::numeric_limits<double>::infinity();
        }
        return std::ranges::max(rank_loads(load_, previous_));
    }

    /// The placement in which as much as possible stays, or nothing when that is above the limit.
    std::optional<Placement> stay(const Bins& found, double limit) const {
        double highest = 0.0;
        for (index_t node = 0; node < found.size(); ++node)
            highest = std::max(highest, mean_load(found[node], ranks_[node].size()));
        const Bins nodes = pack_nodes(Homes::kept, tolerated(highest));
        Held held(previous_.num_ranks());
        for (index_t node = 0; node < nodes.size(); ++node) {
            std::optional<NodePlan> plan = fewest_shadows(nodes[node], node, limit, Homes::kept);
            if (!plan) return {};
            for (index_t i = 0; i < ranks_[node].size(); ++i)
                held[ranks_[node][i]] = std::move(plan->copies[i]);
        }
        return choose_primaries(held);
    }

    /// Node for each bin of experts.
    PerBin<int> name_nodes(const Bins& bins) const {
        PerBin<PerBin<index_t>> overlap(bins.size(), PerBin<index_t>(bins.size(), -1));
        for (index_t bin = 0; bin < bins.size(); ++bin) {
            for (index_t node = 0; node < bins.size(); ++node) {
                if (ranks_[bin].size() != ranks_[node].size()) continue;
                overlap[bin][node] = std::ranges::count_if(
                    bins[bin], [&](index_t expert) { return node_of_[previous_.rank_of(expert)] == node; });
            }
        }
        return match(overlap);
    }

    Placement name_ranks(const PerBin<NodePlan>& plans, const PerBin<int>& node_of_bin) const {
        Held held(previous_.num_ranks());
        for (index_t bin = 0; bin < plans.size(); ++bin) {
            const PerBin<int>& ranks = ranks_[node_of_bin[bin]];
            PerBin<PerBin<index_t>> overlap(ranks.size(), PerBin<index_t>(ranks.size(), 0));
            for (index_t i = 0; i < ranks.size(); ++i) {
                for (index_t j = 0; j < ranks.size(); ++j) {
                    for (const index_t expert : plans[bin].copies[i]) {
                        overlap[i][j] += std::ranges::count(previous_.copies_of(expert), ranks[j]) +
                                         (previous_.rank_of(expert) == ranks[j] ? 1 : 0);
                    }
                }
            }
            const PerBin<int> place_of = match(overlap);
            for (index_t i = 0; i < ranks.size(); ++i) held[ranks[place_of[i]]] = plans[bin].copies[i];
        }
        return choose_primaries(held);
    }

    /// The primary stays where it was if a copy is there; else it is on the rank with the fewest.
    Placement choose_primaries(const Held& held) const {
        PerExpert<std::vector<int>> copies(load_.size());
        for (index_t rank = 0; rank < held.size(); ++rank) {
            for (const index_t expert : held[rank]) copies[expert].push_back(static_cast<int>(rank));
        }
        PerExpert<int> primary(load_.size(), kNowhere);
        PerRank<index_t> num_primaries(held.size(), 0);
        for (index_t expert = 0; expert < copies.size(); ++expert) {
            const int rank = previous_.rank_of(expert);
            if (std::ranges::count(copies[expert], rank) == 0) continue;
            primary[expert] = rank;
            ++num_primaries[rank];
        }
        std::vector<Shadow> shadows;
        for (index_t expert = 0; expert < copies.size(); ++expert) {
            if (primary[expert] == kNowhere) {
                primary[expert] = *std::ranges::min_element(copies[expert], {},
                                                            [&](int rank) { return num_primaries[rank]; });
                ++num_primaries[primary[expert]];
            }
            for (const int rank : copies[expert]) {
                if (rank != primary[expert]) shadows.push_back({expert, rank});
            }
        }
        return Placement(std::move(primary), previous_.num_ranks(), std::move(shadows));
    }

    PerExpertSpan<const index_t> load_;
    const Placement& previous_;
    const PlacementRules& rules_;
    index_t even_places_ = 0;  ///< of a rank, without spare ones
    PerRank<int> node_of_;
    PerBin<PerBin<int>> ranks_;  ///< of each node, ascending
};

}  // namespace

PerRank<double> rank_loads(PerExpertSpan<const index_t> load, const Placement& placement) {
    SY_REQUIRE(load.size() == placement.num_experts(), "rank loads: loads of ", load.size(), " experts for ",
               placement.to_string());
    PerRank<double> loads(placement.num_ranks(), 0.0);
    for (index_t expert = 0; expert < placement.num_experts(); ++expert) {
        const std::span<const int> copies = placement.copies_of(expert);
        for (const int rank : copies)
            loads[rank] += static_cast<double>(load[expert]) / static_cast<double>(copies.size());
    }
    return loads;
}

double rank_imbalance(PerExpertSpan<const index_t> load, const Placement& placement) {
    const PerRank<double> loads = rank_loads(load, placement);
    const auto total = static_cast<double>(std::accumulate(load.begin(), load.end(), index_t{0}));
    if (total <= 0.0) return 1.0;
    return *std::ranges::max_element(loads) * static_cast<double>(loads.size()) / total;
}

index_t num_moved(const Placement& before, const Placement& after) {
    SY_REQUIRE(before.num_experts() == after.num_experts(), "moved experts: from ", before.to_string(),
               " to ", after.to_string());
    index_t moved = 0;
    for (index_t expert = 0; expert < before.num_experts(); ++expert)
        moved += before.rank_of(expert) == after.rank_of(expert) ? 0 : 1;
    return moved;
}

Placement plan_placement(PerExpertSpan<const index_t> load, PerRankSpan<const int> node_of_rank,
                         const Placement& previous, const PlacementRules& rules) {
    return Planner(load, node_of_rank, previous, rules).plan();
}

}  // namespace sy::comm
