#pragma once

#include "kernels/core/indexed.hpp"

/// Loads into bins, greedily and deterministically: the steps of comm/exchange/placement_plan. Ties go to the lower index.
namespace sy::comm {

struct ItemAxis;
struct BinAxis;
template <class T>
using PerItem = Indexed<ItemAxis, T>;
template <class T>
using PerBin = Indexed<BinAxis, T>;

inline constexpr int kNowhere = -1;

/// What is packed into a bin.
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
PerItem<int> pack(const PerItem<Item>& items, const PerBin<Bin>& bins);

/// Takes load off the heaviest bin, by the best move of one item or exchange of two, until no bin's load per width is
/// above `limit` or nothing helps.
void lighten(const PerItem<Item>& items, const PerBin<Bin>& bins, double limit, PerItem<int>& bin_of);

/// Gives each bin a name of its own, pairs with the highest overlap first.
/// @param overlap  of each bin with each name, of which there are as many; -1: never
PerBin<int> match(const PerBin<PerBin<index_t>>& overlap);

}  // namespace sy::comm
