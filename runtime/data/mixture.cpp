#include "runtime/data/mixture.hpp"

#include <numeric>

namespace sy::runtime {
namespace {

/// floor(count * weight / total), also where the product has more than 64 bits.
index_t share_of(index_t count, index_t weight, index_t total) {
    return count / total * weight + count % total * weight / total;
}

}  // namespace

SourceSample mixture_sample(std::span<const index_t> weights, index_t sample_idx) {
    index_t total = std::accumulate(weights.begin(), weights.end(), index_t{0});
    for (std::size_t source = 0;; ++source) {
        const index_t weight = weights[source];
        const index_t before = share_of(sample_idx, weight, total);
        // The last source has all the weight that is left, and takes every sample.
        if (share_of(sample_idx + 1, weight, total) > before) return {source, before};
        sample_idx -= before;
        total -= weight;
    }
}

}  // namespace sy::runtime
