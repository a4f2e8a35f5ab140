#pragma once

#include <span>
#include <vector>

#include "kernels/core/types.hpp"

/// Loads into bins, greedily and deterministically: the steps of comm/exchange/placement_plan. Ties go to the lower index.
namespace sy::comm {

inline constexpr int kNowhere = -1;

/// Something to put into a bin.
struct Item {
    double weight = 0.0;
    index_t places = 1;
    index_t label = 0;    ///< no bin gets two items with one label
    int home = kNowhere;  ///< bin where it is now
};

struct Bin {
    index_t places = 0;
    double width = 1.0;  ///< loads are compared per width
};

/// Items with a home go there while it has room; the others in turn to the bin that they load least.
/// @param items  heaviest first
/// @return bin of each item, or kNowhere when none has room
/// @par Source   longest processing time first, Graham 1969
std::vector<int> pack(std::span<const Item> items, std::span<const Bin> bins);

/// Takes load off the heaviest bin, by the best move of one item or exchange of two, until no bin's load per width is
/// above `limit` or nothing helps.
void lighten(std::span<const Item> items, std::span<const Bin> bins, double limit, std::vector<int>& bin_of);

/// Gives each bin a name of its own, pairs with the highest overlap first.
/// @param overlap  [bins][names], -1: never
std::vector<int> match(const std::vector<std::vector<index_t>>& overlap);

}  // namespace sy::comm
