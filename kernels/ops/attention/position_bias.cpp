#include "kernels/core/fits.hpp"
#include "kernels/ops/attention/position_bias.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

namespace sy::ops {

std::vector<float> alibi_slopes(index_t heads) {
    SY_FITS(heads > 0, "alibi_slopes: ", heads, " heads");
    const auto power = static_cast<index_t>(std::bit_floor(static_cast<std::uint64_t>(heads)));
    // Slope h of a set of `size`, a power of two.
    const auto slope = [](index_t size, index_t h) {
        return static_cast<float>(std::exp2(-8.0 * static_cast<double>(h + 1) / static_cast<double>(size)));
    };
    std::vector<float> slopes;
    for (index_t h = 0; h < power; ++h) slopes.push_back(slope(power, h));
    for (index_t h = power; h < heads; ++h) slopes.push_back(slope(2 * power, 2 * (h - power)));
    return slopes;
}

index_t t5_bucket(index_t relative, index_t num_buckets, index_t max_distance, Visibility visibility) {
    const bool both_sides = visibility == Visibility::all;
    const index_t side = both_sides ? num_buckets / 2 : num_buckets;
    const index_t num_single = side / 2;
    SY_FITS(side >= 2 && (!both_sides || num_buckets % 2 == 0) && max_distance > num_single,
            "t5_bucket: ", num_buckets,
            " buckets (expected two or more a side, the same on both), max distance ", max_distance,
            " (expected beyond ", num_single, ")");
    const index_t first = both_sides && relative > 0 ? side : 0;
    const index_t distance = both_sides ? std::abs(relative) : std::max(-relative, index_t{0});
    if (distance < num_single) return first + distance;
    const auto single = static_cast<double>(num_single);
    const double place = std::log(static_cast<double>(distance) / single) /
                         std::log(static_cast<double>(max_distance) / single) *
                         static_cast<double>(side - num_single);
    // A distance on the edge of two buckets is one of the upper, whichever way the last bit of the logarithms falls.
    return first + std::min(num_single + static_cast<index_t>(place + 1e-9), side - 1);
}

}  // namespace sy::ops
