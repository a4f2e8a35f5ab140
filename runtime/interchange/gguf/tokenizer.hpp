#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/interchange/gguf.hpp"
#include "runtime/json/json.hpp"

/// Tokenizers in GGUF files: byte-level BPE (tokenizer.ggml.model = gpt2) and WordPiece (bert) from a tokenizer.json and back,
/// and BPE (llama) and unigram models (t5) of SentencePiece from a tokenizer.model and back.
namespace sy::runtime::gguf {

struct TokenizerKeys {
    std::vector<Key> keys;
    std::vector<std::string> notes;
};

/// @param spec        as data.tokenizer: a tokenizer.json, a tokenizer.model, or a folder with one; tokenizer_config.json
///                    beside it says which ends llama.cpp is to add
/// @param vocab_size  of the model; ids without a token are written as unused
/// @throws ConfigError with everything that llama.cpp would do otherwise; IoError when a file is missing or damaged
TokenizerKeys tokenizer_keys(const std::string& spec, index_t vocab_size);

/// The same for the bytes of a tokenizer.model, and tokenizer_config.json or null.
TokenizerKeys sentencepiece_keys(std::string_view bytes, const Json& config, const std::string& name,
                                 index_t vocab_size);

/// The same for a tokenizer.json of WordPiece, and tokenizer_config.json or null. @param spec  for messages
TokenizerKeys wordpiece_keys(const Json& file, const Json& config, const std::string& spec,
                             index_t vocab_size);

/// Files of a tokenizer as transformers has them.
struct TokenizerText {
    std::string file;       ///< tokenizer.json, tokenizer.model, or a T5's spiece.model
    std::string tokenizer;  ///< what is in it
    std::string config;     ///< tokenizer_config.json
};

/// The tokenizer in a file; nothing when its tokens are the bytes, or when it has none.
/// @throws IoError for one of none of these kinds, or whose pre-tokenizer has a name that is not known here
std::optional<TokenizerText> read_tokenizer(const Header& header);

}  // namespace sy::runtime::gguf
