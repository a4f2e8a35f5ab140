#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "model/config.hpp"

namespace sy::test {

/// Weights by logical name, whole and in double: [n], [rows, cols] or [E, rows, cols] in row-major order.
using ReferenceWeights = std::map<std::string, std::vector<double>>;

struct ReferenceLoss {
    double token_loss = 0.0;
    double balance_loss = 0.0;
    double z_loss = 0.0;
    double total = 0.0;
    long num_dropped = 0;
};

/// The whole model once more, one token at a time in double, written from the papers that the layers name and without
/// any of their code: pre-norm decoder, half-split rotary positions, grouped-query attention, SwiGLU, softmax top-k
/// routing with capacity in GShard's order. No noise.
/// @param ids  [sequences, seq_len + 1]
ReferenceLoss reference_loss(const model::ModelConfig& config, const model::MoeConfig& moe,
                             const ReferenceWeights& weights, std::span<const std::int32_t> ids);

}  // namespace sy::test
