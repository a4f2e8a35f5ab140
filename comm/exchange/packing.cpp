#include "comm/exchange/packing.hpp"

#include <algorithm>
#include <optional>

namespace sy::comm {
namespace {

/// Bins with what is in them.
class Filling {
  public:
    Filling(const PerItem<Item>& items, const PerBin<Bin>& bins)
        : items_(items), bins_(bins), held_(bins.size()), load_(bins.size(), 0.0) {}

    index_t num_bins() const { return bins_.size(); }
    std::span<const index_t> held(index_t bin) const { return held_[bin]; }
    double load(index_t bin) const { return load_[bin] / bins_[bin].width; }
    /// With `weight` more.
    double load(index_t bin, double weight) const { return (load_[bin] + weight) / bins_[bin].width; }

    /// Whether item i can be added to a bin after its item `leaving` has left.
    bool has_room(index_t i, index_t bin, std::optional<index_t> leaving = {}) const {
        index_t free = bins_[bin].places - items_[i].places;
        for (const index_t other : held_[bin]) {
            if (other == leaving) continue;
            free -= items_[other].places;
            if (items_[other].label == items_[i].label) return false;
        }
        return free >= 0;
    }
    void add(index_t i, index_t bin) {
        held_[bin].insert(std::ranges::upper_bound(held_[bin], i), i);
        sum(bin);
    }
    void remove(index_t i, index_t bin) {
        std::erase(held_[bin], i);
        sum(bin);
    }

  private:
    /// Anew and in the order of the items, so that equal contents have equal loads.
    void sum(index_t bin) {
        load_[bin] = 0.0;
        for (const index_t i : held_[bin]) load_[bin] += items_[i].weight;
    }

    const PerItem<Item>& items_;
    const PerBin<Bin>& bins_;
    PerBin<std::vector<index_t>> held_;
    PerBin<double> load_;
};

/// An item that leaves the heaviest bin, and perhaps one that comes back for it.
struct Change {
    index_t leaving = 0;
    std::optional<index_t> coming;
    index_t to = 0;
    double load = 0.0;  ///< the higher one of both bins, afterwards
};

std::optional<Change> best_change(const PerItem<Item>& items, const Filling& filling, index_t heaviest) {
    std::optional<Change> best;
    const auto consider = [&](index_t leaving, std::optional<index_t> coming, index_t to) {
        const double weight = items[leaving].weight - (coming ? items[*coming].weight : 0.0);
        const double load = std::max(filling.load(heaviest, -weight), filling.load(to, weight));
        if (load >= (best ? best->load : filling.load(heaviest))) return;
        if (!filling.has_room(leaving, to, coming)) return;
        if (coming && !filling.has_room(*coming, heaviest, leaving)) return;
        best = {leaving, coming, to, load};
    };
    for (const index_t leaving : filling.held(heaviest)) {
        for (index_t to = 0; to < filling.num_bins(); ++to) {
            if (to == heaviest) continue;
            consider(leaving, {}, to);
            for (const index_t coming : filling.held(to)) consider(leaving, coming, to);
        }
    }
    return best;
}

}  // namespace

PerItem<int> pack(const PerItem<Item>& items, const PerBin<Bin>& bins) {
    PerItem<int> bin_of(items.size(), kNowhere);
    Filling filling(items, bins);
    for (index_t i = 0; i < items.size(); ++i) {
        if (items[i].home == kNowhere || !filling.has_room(i, items[i].home)) continue;
        bin_of[i] = items[i].home;
        filling.add(i, items[i].home);
    }
    for (index_t i = 0; i < items.size(); ++i) {
        if (bin_of[i] != kNowhere) continue;
        std::optional<index_t> best;
        for (index_t bin = 0; bin < bins.size(); ++bin) {
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

void lighten(const PerItem<Item>& items, const PerBin<Bin>& bins, double limit, PerItem<int>& bin_of) {
    Filling filling(items, bins);
    for (index_t i = 0; i < items.size(); ++i) {
        if (bin_of[i] != kNowhere) filling.add(i, bin_of[i]);
    }
    // Every change makes the sorted list of loads smaller; the bound is for loads that differ in their last bit alone.
    for (index_t round = 0; round < 4 * items.size(); ++round) {
        index_t heaviest = 0;
        for (index_t bin = 1; bin < bins.size(); ++bin) {
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

PerBin<int> match(const PerBin<PerBin<index_t>>& overlap) {
    PerBin<int> name_of(overlap.size(), kNowhere);
    PerBin<bool> taken(overlap.size(), false);
    for (index_t round = 0; round < overlap.size(); ++round) {
        index_t highest = -1;
        index_t best_bin = 0;
        index_t best_name = 0;
        for (index_t bin = 0; bin < overlap.size(); ++bin) {
            if (name_of[bin] != kNowhere) continue;
            for (index_t name = 0; name < overlap.size(); ++name) {
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
