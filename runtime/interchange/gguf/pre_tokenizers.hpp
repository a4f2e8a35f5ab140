#pragma once

#include <span>
#include <string>
#include <vector>

#include "runtime/json/json.hpp"

namespace sy::runtime::gguf {

/// A pre-tokenizer that llama.cpp has built in. Files name it; what has no name there cannot be written.
struct KnownPreTokenizer {
    const char* name;                   ///< tokenizer.ggml.pre
    std::vector<std::string> patterns;  ///< of the Split steps before ByteLevel; none: ByteLevel's own
    bool ignore_merges = false;         ///< words that are tokens are not merged from their bytes
    bool nfc = false;                   ///< published files ask for NFC, which llama.cpp leaves out
};

std::span<const KnownPreTokenizer> known_pre_tokenizers();

/// That of a tokenizer.json. @throws ConfigError describing one that llama.cpp has not, or that is not known here
const KnownPreTokenizer& known_pre_tokenizer(const Json& file);

}  // namespace sy::runtime::gguf
