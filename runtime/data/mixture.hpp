#pragma once

#include <span>

#include "kernels/core/types.hpp"

namespace sy::runtime {

/// A sample of one of several sources.
struct SourceSample {
    std::size_t source = 0;
    index_t sample_idx = 0;  ///< counted within the source
};

/// Which source sample `sample_idx` of a mixture comes from; computed without those before. Of the samples that the sources
/// before source i leave, it takes sample g exactly when floor((g + 1) w / W) > floor(g w / W), where w is its weight and W
/// that of itself and the later ones. So any sum(weights) samples in a row, the first being a multiple of that, hold
/// exactly weights[i] of source i, and the first g samples g * share of it, but for fewer than there are sources.
///
/// @param weights  above 0, at most 10^9 each and 9 * 10^9 together
SourceSample mixture_sample(std::span<const index_t> weights, index_t sample_idx);

}  // namespace sy::runtime
