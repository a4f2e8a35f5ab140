#pragma once

#include <string>
#include <vector>

#include "runtime/config/config.hpp"

namespace sy::runtime::bench {

/// Rows that a benchmark sends to experts.
struct ExchangeShape {
    std::string name;
    index_t tokens = 0;  ///< of a rank
    index_t hidden = 0;
    index_t experts = 0;
    index_t top_k = 0;
    float hot = 0.0F;  ///< share of tokens whose first choice is expert 0, beside those that draw it

    /// Bytes of a rank's rows when one is sent for each choice.
    index_t choice_bytes() const { return tokens * top_k * hidden * index_t{sizeof(float)}; }
};

/// Named by its numbers: "4096 x 512, hot, top 8 of 64".
ExchangeShape exchange_shape(index_t tokens, index_t hidden, index_t top_k, index_t experts,
                             float hot = 0.0F);

/// A few, from one token to many.
std::vector<ExchangeShape> quick_shapes();

/// 1 to 16384 tokens of 256 to 4096 values, spread evenly and with a hot expert.
std::vector<ExchangeShape> full_shapes();

/// A micro-step of the config's first mixture on so many ranks.
ExchangeShape shape_of(const Config& config, int num_ranks);

}  // namespace sy::runtime::bench
