#pragma once

#include <cstdint>
#include <vector>

#include "kernels/core/types.hpp"

namespace sy::model {

/// What a mixture has decided about tokens in one pass: T tokens, K choices each.
struct RoutingRecord {
    index_t micro_step = 0;
    index_t layer = 0;
    index_t num_tokens = 0;
    index_t top_k = 0;
    std::vector<std::int32_t> expert;  ///< [T, K] choices, best first; -1 where a token has fewer
    std::vector<float> weight;         ///< [T, K] combine weights, whether kept or not
    std::vector<std::uint8_t> kept;    ///< [T, K] 1 where the choice got a slot

    bool operator==(const RoutingRecord&) const = default;
};

/// Where mixtures write down what they decide for this rank's tokens in training, while it is open.
struct RoutingLog {
    bool open = false;
    std::vector<RoutingRecord> records;  ///< in the order of micro-steps and layers
};

}  // namespace sy::model
