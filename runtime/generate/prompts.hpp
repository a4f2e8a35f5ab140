#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/config/config.hpp"
#include "runtime/tokenizer/tokenizer.hpp"

namespace sy::runtime {

/// A text to continue, and where it stands, for messages.
struct Prompt {
    std::string text;
    std::string place;
};

/// generate.prompt alone; or those of generate.prompts: one a line, or JSON objects {"prompt": TEXT}, one a line, where
/// the name ends in .jsonl.
/// @throws ConfigError with everything that is wrong, by line; IoError where the file cannot be read
std::vector<Prompt> read_prompts(const GenerateConfig& config);

/// The tokens of each prompt behind those that begin a text.
/// @throws ConfigError naming every prompt that generate.tokens more tokens would take beyond model.seq_len
std::vector<std::vector<std::int32_t>> prompt_tokens(const std::vector<Prompt>& prompts,
                                                     const Tokenizer& tokenizer, const Config& config);

/// generate.stop as a list: a JSON array of strings, or one string as it stands; none when empty.
/// @throws ConfigError saying what it has to be
std::vector<std::string> stop_strings(const std::string& setting);

}  // namespace sy::runtime
