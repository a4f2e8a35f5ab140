#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/core/types.hpp"

namespace sy::runtime {

/// Text to token ids and back. decode(encode(text)) == text for every text.
class Tokenizer {
  public:
    virtual ~Tokenizer() = default;
    virtual std::string name() const = 0;
    /// Ids are 0 .. vocab_size() - 1.
    virtual index_t vocab_size() const = 0;
    virtual std::vector<std::int32_t> encode(std::string_view text) const = 0;
    /// @throws ShapeError for an id outside the vocabulary
    virtual std::string decode(std::span<const std::int32_t> ids) const = 0;
};

/// @param name  one of kTokenizerNames
/// @throws ConfigError naming the known ones
std::unique_ptr<Tokenizer> make_tokenizer(const std::string& name);

}  // namespace sy::runtime
