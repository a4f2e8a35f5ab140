#include "comm/exchange/packing.hpp"

#include <algorithm>
#include <optional>

namespace sy::comm {
namespace {

std::size_t at(index_t i) {
    return static_cast<std::size_t>(i);
}

/// Bins with what is in them.
class Filling {
  public:
    Filling(std::span<const Item> items, std::span<const Bin> bins)
        : items_(items), bins_(bins), held_(bins.size()), load_(bins.size(), 0.0) {}

    std::size_t num_bins() const { return bins_.size(); }
    std::span<const std::size_t> held(std::size_t bin) const { return held_[bin]; }
    double load(std::size_t bin) const { return load_[bin] / bins_[bin].width; }
    /// With `weight` more.
    double load(std::size_t bin, double weight) const { return (load_[bin] + weight) / bins_[bin].width; }

    /// Whether item i can be added to a bin after its item `leaving` has left.
    bool has_room(std::size_t i, std::size_t bin, std::optional<std::size_t> leaving = {}) const {
        index_t free = bins_[bin].places - items_[i].places;
        for (const std::size_t other : held_[bin]) {
            if (other == leaving) continue;
            free -= items_[other].places;
            if (items_[other].label == items_[i].label) return false;
        }
        return free >= 0;
    }
    void add(std::size_t i, std::size_t bin) {
        held_[bin].insert(std::ranges::upper_bound(held_[bin], i), i);
        sum(bin);
    }
    void remove(std::size_t i, std::size_t bin) {
        std::erase(held_[bin], i);
        sum(bin);
    }

  private:
    /// Anew and in the order of the items, so that equal contents have equal loads.
    void sum(std::size_t bin) {
        load_[bin] = 0.0;
        for (const std::size_t i : held_[bin]) load_[bin] += items_[i].weight;
    }

    std::span<const Item> items_;
    std::span<const Bin> bins_;
    std::vector<std::vector<std::size_t>> held_;
    std::vector<double> load_;
};

/// An item that leaves the heaviest bin, and perhaps one that comes back for it.
struct Change {
    std::size_t leaving = 0;
    std::optional<std::size_t> coming;
    std::size_t to = 0;
    double load = 0.0;  ///< the higher one of both bins, afterwards
};

std::optional<Change> best_change(std::span<const Item> items, const Filling& filling, std::size_t heaviest) {
    std::optional<Change> best;
    const auto consider = [&](std::size_t leaving, std::optional<std::size_t> coming, std::size_t to) {
        const double weight = items[leaving].weight - (coming ? items[*coming].weight : 0.0);
        const double load = std::max(filling.load(heaviest, -weight), filling.load(to, weight));
        if (load >= (best ? best->load : filling.load(heaviest))) return;
        if (!filling.has_room(leaving, to, coming)) return;
        if (coming && !filling.has_room(*coming, heaviest, leaving)) return;
        best = {leaving, coming, to, load};
    };
    for (const std::size_t leaving : filling.held(heaviest)) {
        for (std::size_t to = 0; to < filling.num_bins(); ++to) {
            if (to == heaviest) continue;
            consider(leaving, {}, to);
            for (const std::size_t coming : filling.held(to)) consider(leaving, coming, to);
        }
    }
    return best;
}

}  // namespace

std::vector<int> pack(std::span<const Item> items, std::span<const Bin> bins) {
    std::vector<int> bin_of(items.size(), kNowhere);
    Filling filling(items, bins);
    for (std::size_t i = 0; i < items.size(); ++i) {
        if (items[i].home == kNowhere || !filling.has_room(i, at(items[i].home))) continue;
        bin_of[i] = items[i].home;
        filling.add(i, at(items[i].home));
    }
    for (std::size_t i = 0; i < items.size(); ++i) {
        if (bin_of[i] != kNowhere) continue;
        std::optional<std::size_t> best;
        for (std::size_t bin = 0; bin < bins.size(); ++bin) {
            const bool lighter =
                !best || filling.load(bin, items[i].weight) < filling.load(*best, items[i].weight);
            if (lighter && filling.has_room(i, bin)) best = bin;
        }
        if (!best) continue;
        bin_of[i] = static_cast<int>(*best);
        filling.add(i, *best);
    }
    return bin_of;
}

void lighten(std::span<const Item> items, std::span<const Bin> bins, double limit, std::vector<int>& bin_of) {
    Filling filling(items, bins);
    for (std::size_t i = 0; i < items.size(); ++i) {
        if (bin_of[i] != kNowhere) filling.add(i, at(bin_of[i]));
    }
    // Every change makes the sorted list of loads smaller; the bound is for loads that differ in their last bit alone.
    for (std::size_t round = 0; round < 4 * items.size(); ++round) {
        std::size_t heaviest = 0;
        for (std::size_t bin = 1; bin < bins.size(); ++bin) {
            if (filling.load(bin) > filling.load(heaviest)) heaviest = bin;
        }
        if (filling.load(heaviest) <= limit) return;
        const std::optional<Change> change = best_change(items, filling, heaviest);
        if (!change) return;
        filling.remove(change->leaving, heaviest);
        if (change->coming) {
            filling.remove(*change->coming, change->to);
            filling.add(*change->coming, heaviest);
            bin_of[*change->coming] = static_cast<int>(heaviest);
        }
        filling.add(change->leaving, change->to);
        bin_of[change->leaving] = static_cast<int>(change->to);
    }
}

std::vector<int> match(const std::vector<std::vector<index_t>>& overlap) {
    std::vector<int> name_of(overlap.size(), kNowhere);
    std::vector<bool> taken(overlap.size(), false);
    for (std::size_t round = 0; round < overlap.size(); ++round) {
        index_t highest = -1;
        std::size_t best_bin = 0;
        std::size_t best_name = 0;
        for (std::size_t bin = 0; bin < overlap.size(); ++bin) {
            if (name_of[bin] != kNowhere) continue;
            for (std::size_t name = 0; name < overlap.size(); ++name) {
                if (taken[name] || overlap[bin][name] <= highest) continue;
                highest = overlap[bin][name];
                best_bin = bin;
                best_name = name;
            }
        }
        SY_REQUIRE(highest >= 0, "packing: a bin may have none of the names that are left");
        name_of[best_bin] = static_cast<int>(best_name);
        taken[best_name] = true;
    }
    return name_of;
}

}  // namespace sy::comm
