#pragma once

#include <cstdint>
#include <span>

#include "kernels/core/types.hpp"
#include "runtime/generate/config.hpp"

namespace sy::runtime {

/// Index of the next token. Logits l go through these steps, in the order and with the formulas of transformers:
///  1. generate.repetition_penalty r, once for each token that occurs in `earlier`: l / r where l >= 0, else l * r
///  2. generate.temperature T: l / T. At 0 the highest logit wins, the lowest index of several, and the rest is left out
///  3. generate.top_k k: those below the k-th highest are out; those equal to it stay
///  4. generate.top_p p: of the probabilities of what is left, the likeliest stay until they hold p; one stays at least
///  5. generate.min_p m: those less likely than m times the likeliest are out
/// What is left is drawn from by its probabilities, likeliest first and lower indices first where these are equal.
/// @param earlier  ids of the sequence so far, prompt and all; ids that have no logit are passed over
/// @param draw     uniform in (0, 1)
/// @throws Error where a logit is not finite
/// @par Source  transformers 5.23, generation/logits_process.py; Keskar et al., CTRL, arXiv:1909.05858, section 4.1;
///              Holtzman et al., arXiv:1904.09751; Nguyen et al., min-p, arXiv:2407.01082
index_t sample_token(std::span<const float> logits, std::span<const std::int32_t> earlier,
                     const GenerateConfig& config, float draw);

/// Where a draw is made: draws depend on generate.seed and this alone.
struct DrawPlace {
    index_t prompt_idx = 0;
    index_t position = 0;  ///< in the sequence
};
/// The same with the draw that generate.seed has for a place.
index_t sample_token_at(std::span<const float> logits, std::span<const std::int32_t> earlier,
                        const GenerateConfig& config, const DrawPlace& place);

/// log softmax of one logit in its row, in nats: the model's own probability, before any of the above.
double log_probability(std::span<const float> logits, std::int32_t id);

}  // namespace sy::runtime
