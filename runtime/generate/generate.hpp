#pragma once

#include <string>

#include "runtime/train/session.hpp"

namespace sy::runtime {

/// Index of the next token: the likeliest at temperature 0, else sampled among the top_k likeliest that together hold
/// top_p. @param draw  uniform in (0, 1)
index_t sample_token(std::span<const float> logits, const GenerateConfig& config, float draw);

/// Continues generate.prompt by generate.tokens bytes. Every rank computes the same text. @par Collective
std::string generate(Session& session);

}  // namespace sy::runtime
