#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/tokenizer/tokenizer.hpp"

namespace sy::runtime {

/// A tokenizer.model through the library SentencePiece, which is named in sentencepiece_tokenizer.cpp alone.
///
/// The model normalizes texts: what decode gives back is what the library makes of them, without a blank that it has put
/// in front. Bytes that are not UTF-8 become U+FFFD. Several threads may encode at once.
class SentencePieceTokenizer final : public Tokenizer {
  public:
    /// @throws IoError when the file cannot be read or is no model; Error in a program that was built without the library
    explicit SentencePieceTokenizer(const std::string& path);
    ~SentencePieceTokenizer() override;

    std::string name() const override { return path_; }
    std::string identity() const override { return identity_; }
    index_t vocab_size() const override;
    std::vector<std::int32_t> encode(std::string_view text) const override;
    std::string decode(std::span<const std::int32_t> ids) const override;
    /// 0 for unknown tokens too: of what they stand for nothing is known.
    index_t num_bytes(std::int32_t id) const override;
    /// The file does not say whether a model expects any.
    std::span<const std::int32_t> text_begin() const override { return {}; }
    std::optional<std::int32_t> end_of_text() const override;

  private:
    struct Library;
    std::string path_;
    std::string identity_;
    std::unique_ptr<const Library> library_;
};

}  // namespace sy::runtime
