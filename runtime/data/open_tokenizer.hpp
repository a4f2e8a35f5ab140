#pragma once

#include <memory>

#include "runtime/config/config.hpp"
#include "runtime/tokenizer/tokenizer.hpp"

namespace sy::runtime {

/// The tokenizer that data.tokenizer names, for the model of the same settings.
/// @throws ConfigError when it is unknown, or when model.vocab_size has no room for its tokens and for the ids with which
///         an encoder masks tokens or an encoder_decoder marks spans; IoError when its file cannot be used
std::unique_ptr<Tokenizer> open_tokenizer(const Config& config);

}  // namespace sy::runtime
