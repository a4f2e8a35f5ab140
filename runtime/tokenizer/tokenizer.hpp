#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/core/types.hpp"

namespace sy::runtime {

/// Text to token ids and back. Several threads may use one tokenizer at once.
class Tokenizer {
  public:
    virtual ~Tokenizer() = default;
    virtual std::string name() const = 0;
    /// What decides the ids, wherever it is stored: "bytes", or the kind and the XXH3-64 of the file, as in
    /// "bpe xxh3:0123456789abcdef".
    virtual std::string identity() const = 0;
    /// Ids are 0 .. vocab_size() - 1.
    virtual index_t vocab_size() const = 0;
    /// encode leaves out text_begin() and end_of_text().
    virtual std::vector<std::int32_t> encode(std::string_view text) const = 0;
    /// @throws ShapeError for an id outside the vocabulary
    virtual std::string decode(std::span<const std::int32_t> ids) const = 0;
    /// How many bytes of a text a token stands for: 0 for tokens that mark structure and for ids without a token.
    virtual index_t num_bytes(std::int32_t id) const = 0;
    /// Tokens that a model expects before each text; empty for most.
    virtual std::span<const std::int32_t> text_begin() const = 0;
    /// The token that ends a text; nothing when there is none.
    virtual std::optional<std::int32_t> end_of_text() const = 0;
};

/// @param spec  "bytes", a tokenizer.json (any file that ends in .json), a tokenizer.model of SentencePiece (.model), or
///              a folder with one of them (tokenizer_file_in says which)
/// @throws ConfigError for anything else, saying what there is; IoError when the file is missing, damaged or not supported
std::unique_ptr<Tokenizer> make_tokenizer(const std::string& spec);

}  // namespace sy::runtime
