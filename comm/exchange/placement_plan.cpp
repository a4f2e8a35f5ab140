#include "comm/exchange/placement_plan.hpp"

#include <algorithm>
#include <functional>
#include <limits>
#include <numeric>
#include <optional>

#include "comm/exchange/packing.hpp"

namespace sy::comm {
namespace {

std::size_t at(index_t i) {
    return static_cast<std::size_t>(i);
}

/// Whether things stay where they were in the previous placement, as far as loads allow.
enum class Homes { ignored, kept };

/// Experts of each bin.
using Bins = std::vector<std::vector<index_t>>;

/// What the ranks of one node hold, not yet by name.
struct NodePlan {
    Bins copies;           ///< [ranks of the node]
    double highest = 0.0;  ///< load of a rank
    index_t num_shadows = 0;
};

class Planner {
  public:
    Planner(std::span<const index_t> load, std::span<const int> node_of_rank, const Placement& previous,
            const PlacementRules& rules)
        : load_(load), previous_(previous), rules_(rules) {
        const index_t experts = previous.num_experts();
        SY_REQUIRE(static_cast<index_t>(load.size()) == experts, "placement plan: loads of ", load.size(),
                   " experts for ", previous.to_string());
        SY_REQUIRE(static_cast<int>(node_of_rank.size()) == previous.num_ranks(), "placement plan: nodes of ",
                   node_of_rank.size(), " ranks for ", previous.to_string());
        SY_REQUIRE(rules.spare_experts >= 0 && rules.tolerance >= 0.0 && rules.groups >= 0 &&
                       (rules.groups == 0 || experts % rules.groups == 0),
                   "placement plan: ", rules.spare_experts, " spare places, tolerance ", rules.tolerance,
                   ", ", rules.groups, " groups of ", experts, " experts");
        even_places_ = ceil_div(experts, previous.num_ranks());
        for (std::size_t rank = 0; rank < node_of_rank.size(); ++rank) {
            const auto known = std::ranges::find(node_of_rank.first(rank), node_of_rank[rank]);
            if (known == node_of_rank.begin() + static_cast<std::ptrdiff_t>(rank)) {
                node_of_.push_back(static_cast<int>(ranks_.size()));
                ranks_.emplace_back();
            } else {
                node_of_.push_back(node_of_[at(known - node_of_rank.begin())]);
            }
            ranks_[at(node_of_.back())].push_back(static_cast<int>(rank));
        }
    }

    Placement plan() const {
        if (std::ranges::all_of(load_, [](index_t count) { return count == 0; })) return previous_;
        std::vector<index_t> all(load_.size());
        std::iota(all.begin(), all.end(), 0);
        const Bins nodes = pack_nodes(Homes::ignored, tolerated(mean_load(all, node_of_.size())));
        double highest = 0.0;
        for (std::size_t node = 0; node < nodes.size(); ++node)
            highest = std::max(highest, lowest_load(nodes[node], node));
        // Better than anything found now: the local search has been luckier before.
        const double now = load_of_previous();
        if (now < highest) return previous_;
        const double limit = tolerated(highest);
        std::vector<NodePlan> found;
        index_t num_shadows = 0;
        for (std::size_t node = 0; node < nodes.size(); ++node) {
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
    double load_of(index_t expert) const { return static_cast<double>(load_[at(expert)]); }
    double mean_load(std::span<const index_t> experts, std::size_t num_ranks) const {
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
        std::vector<Item> groups;
        for (index_t first = 0; first < previous_.num_experts(); first += group_size) {
            Item& group = groups.emplace_back(Item{0.0, group_size, first, kNowhere});
            std::vector<index_t> experts_on(ranks_.size(), 0);
            for (index_t expert = first; expert < first + group_size; ++expert) {
                group.weight += load_of(expert);
                ++experts_on[at(node_of_[at(previous_.rank_of(expert))])];
            }
            if (homes == Homes::kept)
                group.home = static_cast<int>(std::ranges::max_element(experts_on) - experts_on.begin());
        }
        std::vector<Bin> bins;
        for (const std::vector<int>& ranks : ranks_) {
            const auto width = static_cast<index_t>(ranks.size());
            bins.push_back({width * even_places_, static_cast<double>(width)});
        }
        sort_heaviest_first(groups);
        std::vector<int> node_of = pack(groups, bins);
        lighten(groups, bins, limit, node_of);
        Bins nodes(ranks_.size());
        for (std::size_t i = 0; i < groups.size(); ++i) {
            if (node_of[i] == kNowhere) return {};
            for (index_t expert = groups[i].label; expert < groups[i].label + group_size; ++expert)
                nodes[at(node_of[i])].push_back(expert);
        }
        for (std::vector<index_t>& experts : nodes) std::ranges::sort(experts);
        return nodes;
    }

    static void sort_heaviest_first(std::vector<Item>& items) {
        std::ranges::stable_sort(items, std::greater<>(), &Item::weight);
    }

    /// As many as the node has places for, those that an uneven share of experts leaves among them.
    index_t most_shadows(std::span<const index_t> experts, std::size_t node) const {
        const auto ranks = static_cast<index_t>(ranks_[node].size());
        const auto count = static_cast<index_t>(experts.size());
        return std::min(ranks * (even_places_ + rules_.spare_experts), ranks * count) - count;
    }

    /// Copies of each expert: shadows one by one to the highest load per copy.
    std::vector<index_t> count_copies(std::span<const index_t> experts, index_t num_shadows,
                                      std::size_t node) const {
        std::vector<index_t> copies(experts.size(), 1);
        for (index_t shadow = 0; shadow < num_shadows; ++shadow) {
            std::optional<std::size_t> hottest;
            const auto share = [&](std::size_t i) {
                return load_of(experts[i]) / static_cast<double>(copies[i]);
            };
            for (std::size_t i = 0; i < experts.size(); ++i) {
                const bool can_have_more = at(copies[i]) < ranks_[node].size();
                if (can_have_more && (!hottest || share(i) > share(*hottest))) hottest = i;
            }
            if (hottest) ++copies[*hottest];
        }
        return copies;
    }

    /// Positions in the node of the ranks that hold an expert now, its primary's first.
    std::vector<int> homes_of(index_t expert, std::size_t node) const {
        std::vector<int> homes;
        for (std::size_t i = 0; i < ranks_[node].size(); ++i) {
            const int rank = ranks_[node][i];
            if (std::ranges::count(previous_.copies_of(expert), rank) == 0) continue;
            homes.insert(rank == previous_.rank_of(expert) ? homes.begin() : homes.end(),
                         static_cast<int>(i));
        }
        return homes;
    }

    NodePlan pack_node(std::span<const index_t> experts, std::size_t node, index_t num_shadows, Homes keep,
                       double limit) const {
        const std::vector<index_t> wanted = count_copies(experts, num_shadows, node);
        std::vector<Item> items;
        for (std::size_t i = 0; i < experts.size(); ++i) {
            const std::vector<int> homes =
                keep == Homes::kept ? homes_of(experts[i], node) : std::vector<int>();
            for (std::size_t copy = 0; copy < at(wanted[i]); ++copy) {
                items.push_back({load_of(experts[i]) / static_cast<double>(wanted[i]), 1, experts[i],
                                 copy < homes.size() ? homes[copy] : kNowhere});
            }
        }
        const std::vector<Bin> bins(ranks_[node].size(), Bin{even_places_ + rules_.spare_experts});
        sort_heaviest_first(items);
        std::vector<int> bin_of = pack(items, bins);
        // A further copy finds no room when all free places are with ranks that have the expert.
        std::vector<index_t> copies(load_.size(), 0);
        for (std::size_t i = 0; i < items.size(); ++i)
            copies[at(items[i].label)] += bin_of[i] == kNowhere ? 0 : 1;
        for (Item& item : items)
            item.weight = load_of(item.label) / static_cast<double>(copies[at(item.label)]);
        lighten(items, bins, limit, bin_of);
        NodePlan plan;
        plan.copies.resize(ranks_[node].size());
        for (std::size_t i = 0; i < items.size(); ++i) {
            if (bin_of[i] != kNowhere) plan.copies[at(bin_of[i])].push_back(items[i].label);
        }
        for (std::vector<index_t>& held : plan.copies) {
            std::ranges::sort(held);
            double sum = 0.0;
            for (const index_t expert : held)
                sum += load_of(expert) / static_cast<double>(copies[at(expert)]);
            plan.highest = std::max(plan.highest, sum);
        }
        for (const index_t expert : experts) {
            SY_REQUIRE(copies[at(expert)] > 0, "placement plan: no room for expert ", expert);
            plan.num_shadows += copies[at(expert)] - 1;
        }
        return plan;
    }

    /// Lowest highest load of a rank with any number of shadows.
    double lowest_load(std::span<const index_t> experts, std::size_t node) const {
        const double limit = tolerated(mean_load(experts, ranks_[node].size()));
        double lowest = std::numeric_limits<double>::infinity();
        for (index_t shadows = 0; shadows <= most_shadows(experts, node) && lowest > limit; ++shadows)
            lowest = std::min(lowest, pack_node(experts, node, shadows, Homes::ignored, limit).highest);
        return lowest;
    }

    std::optional<NodePlan> fewest_shadows(std::span<const index_t> experts, std::size_t node, double limit,
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
            const auto held = static_cast<index_t>(previous_.experts_of(rank).size());
            if (held > even_places_ + rules_.spare_experts) return std::numeric_limits<double>::infinity();
        }
        return std::ranges::max(rank_loads(load_, previous_));
    }

    /// The placement in which as much as possible stays, or nothing when that is above the limit.
    std::optional<Placement> stay(const Bins& found, double limit) const {
        double highest = 0.0;
        for (std::size_t node = 0; node < found.size(); ++node)
            highest = std::max(highest, mean_load(found[node], ranks_[node].size()));
        const Bins nodes = pack_nodes(Homes::kept, tolerated(highest));
        std::vector<std::vector<index_t>> held(at(previous_.num_ranks()));
        for (std::size_t node = 0; node < nodes.size(); ++node) {
            std::optional<NodePlan> plan = fewest_shadows(nodes[node], node, limit, Homes::kept);
            if (!plan) return {};
            for (std::size_t i = 0; i < ranks_[node].size(); ++i)
                held[at(ranks_[node][i])] = std::move(plan->copies[i]);
        }
        return choose_primaries(held);
    }

    /// Node for each bin of experts.
    std::vector<int> name_nodes(const Bins& bins) const {
        std::vector<std::vector<index_t>> overlap(bins.size(), std::vector<index_t>(bins.size(), -1));
        for (std::size_t bin = 0; bin < bins.size(); ++bin) {
            for (std::size_t node = 0; node < bins.size(); ++node) {
                if (ranks_[bin].size() != ranks_[node].size()) continue;
                overlap[bin][node] = std::ranges::count_if(bins[bin], [&](index_t expert) {
                    return node_of_[at(previous_.rank_of(expert))] == static_cast<int>(node);
                });
            }
        }
        return match(overlap);
    }

    Placement name_ranks(const std::vector<NodePlan>& plans, const std::vector<int>& node_of_bin) const {
        std::vector<std::vector<index_t>> held(at(previous_.num_ranks()));
        for (std::size_t bin = 0; bin < plans.size(); ++bin) {
            const std::vector<int>& ranks = ranks_[at(node_of_bin[bin])];
            std::vector<std::vector<index_t>> overlap(ranks.size(), std::vector<index_t>(ranks.size(), 0));
            for (std::size_t i = 0; i < ranks.size(); ++i) {
                for (std::size_t j = 0; j < ranks.size(); ++j) {
                    for (const index_t expert : plans[bin].copies[i]) {
                        overlap[i][j] += std::ranges::count(previous_.copies_of(expert), ranks[j]) +
                                         (previous_.rank_of(expert) == ranks[j] ? 1 : 0);
                    }
                }
            }
            const std::vector<int> place_of = match(overlap);
            for (std::size_t i = 0; i < ranks.size(); ++i)
                held[at(ranks[at(place_of[i])])] = plans[bin].copies[i];
        }
        return choose_primaries(held);
    }

    /// The primary stays where it was if a copy is there; else it is on the rank with the fewest.
    Placement choose_primaries(const std::vector<std::vector<index_t>>& held) const {
        std::vector<std::vector<int>> copies(load_.size());
        for (std::size_t rank = 0; rank < held.size(); ++rank) {
            for (const index_t expert : held[rank]) copies[at(expert)].push_back(static_cast<int>(rank));
        }
        std::vector<int> primary(load_.size(), kNowhere);
        std::vector<index_t> num_primaries(held.size(), 0);
        for (std::size_t expert = 0; expert < copies.size(); ++expert) {
            const int rank = previous_.rank_of(static_cast<index_t>(expert));
            if (std::ranges::count(copies[expert], rank) == 0) continue;
            primary[expert] = rank;
            ++num_primaries[at(rank)];
        }
        std::vector<Shadow> shadows;
        for (std::size_t expert = 0; expert < copies.size(); ++expert) {
            if (primary[expert] == kNowhere) {
                primary[expert] = *std::ranges::min_element(
                    copies[expert], {}, [&](int rank) { return num_primaries[at(rank)]; });
                ++num_primaries[at(primary[expert])];
            }
            for (const int rank : copies[expert]) {
                if (rank != primary[expert]) shadows.push_back({static_cast<index_t>(expert), rank});
            }
        }
        return Placement(std::move(primary), previous_.num_ranks(), std::move(shadows));
    }

    std::span<const index_t> load_;
    const Placement& previous_;
    const PlacementRules& rules_;
    index_t even_places_ = 0;  ///< of a rank, without spare ones
    std::vector<int> node_of_;
    std::vector<std::vector<int>> ranks_;  ///< of each node, ascending
};

}  // namespace

std::vector<double> rank_loads(std::span<const index_t> load, const Placement& placement) {
    SY_REQUIRE(static_cast<index_t>(load.size()) == placement.num_experts(), "rank loads: loads of ",
               load.size(), " experts for ", placement.to_string());
    std::vector<double> loads(at(placement.num_ranks()), 0.0);
    for (index_t expert = 0; expert < placement.num_experts(); ++expert) {
        const std::span<const int> copies = placement.copies_of(expert);
        for (const int rank : copies)
            loads[at(rank)] += static_cast<double>(load[at(expert)]) / static_cast<double>(copies.size());
    }
    return loads;
}

double rank_imbalance(std::span<const index_t> load, const Placement& placement) {
    const std::vector<double> loads = rank_loads(load, placement);
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

Placement plan_placement(std::span<const index_t> load, std::span<const int> node_of_rank,
                         const Placement& previous, const PlacementRules& rules) {
    return Planner(load, node_of_rank, previous, rules).plan();
}

}  // namespace sy::comm
