#pragma once

#include <optional>
#include <string>
#include <vector>

#include "runtime/interchange/gguf.hpp"

/// Tokenizers of byte-level BPE in GGUF files (tokenizer.ggml.model = gpt2), from a tokenizer.json and back.
namespace sy::runtime::gguf {

struct TokenizerKeys {
    std::vector<Key> keys;
    std::vector<std::string> notes;
};

/// @param spec        as data.tokenizer: a tokenizer.json, or a folder with one, and with tokenizer_config.json beside it
/// @param vocab_size  of the model; ids without a token are written as unused
/// @throws ConfigError with everything that llama.cpp would do otherwise; IoError when a file is missing or damaged
TokenizerKeys tokenizer_keys(const std::string& spec, index_t vocab_size);

/// Files of a tokenizer as transformers has them.
struct TokenizerText {
    std::string tokenizer;  ///< tokenizer.json
    std::string config;     ///< tokenizer_config.json
};

/// The tokenizer in a file; nothing when its tokens are the bytes, or when it has none.
/// @throws IoError for one that is no byte-level BPE, or whose pre-tokenizer has a name that is not known here
std::optional<TokenizerText> read_tokenizer(const Header& header);

}  // namespace sy::runtime::gguf
