#pragma once

#include <string>

#include "runtime/train/session.hpp"

namespace sy::runtime {

/// Index of the next token: the likeliest at temperature 0, else sampled among the top_k likeliest that together hold
/// top_p. @param draw  uniform in (0, 1)
index_t sample_token(std::span<const float> logits, const GenerateConfig& config, float draw);

/// The same with the draw that generate.seed has for a place.
index_t sample_token_at(std::span<const float> logits, const GenerateConfig& config, index_t place);

/// Continues generate.prompt by generate.tokens tokens (decoder), or fills its gaps (encoder, encoder_decoder). Every rank
/// computes the same text. @par Collective
std::string generate(Session& session);

/// Fills gaps with an encoder: each generate.gap in the prompt is one masked token. They are found from left to right, and
/// each is known to the next.
/// @par Source  Wang and Cho, arXiv:1902.04094
std::string fill_masks(Session& session);

/// Fills gaps with an encoder and decoder: each run of generate.gap is a corrupted span of any length. Without one, one
/// is put at the prompt's end. A gap that is not reached within generate.tokens and what the decoder was trained on is
/// left.
/// @par Source  T5, arXiv:1910.10683, section 3.1.4
std::string fill_spans(Session& session);

}  // namespace sy::runtime
