#pragma once

#include <ostream>
#include <string>

#include "runtime/train/session.hpp"

namespace sy::runtime {

/// Continues each prompt by at most generate.tokens tokens (decoder), or fills its gaps (encoder, encoder_decoder), and
/// writes the results on rank 0, in the order of the prompts; the text of a single prompt as it is made.
/// @return  for people: on a GPU, how the steps of next tokens were started; else empty
/// @throws ConfigError with everything that is wrong with the prompts; IoError where they cannot be read or results not
///         written
/// @par Collective
std::string generate(Session& session, std::ostream& out);

/// Fills gaps with an encoder: each generate.gap in the prompt is one masked token. They are found from left to right, and
/// each is known to the next. @par Collective
/// @par Source  Wang and Cho, arXiv:1902.04094
std::string fill_masks(Session& session, const std::string& prompt);

/// Fills gaps with an encoder and decoder: each run of generate.gap is a corrupted span of any length. Without one, one
/// is put at the prompt's end. A gap that is not reached within generate.tokens and what the decoder was trained on is
/// left. @par Collective
/// @par Source  T5, arXiv:1910.10683, section 3.1.4
std::string fill_spans(Session& session, const std::string& prompt);

}  // namespace sy::runtime
