#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/tokenizer/added_tokens.hpp"
#include "runtime/tokenizer/bpe.hpp"
#include "runtime/tokenizer/tokenizer.hpp"
#include "runtime/tokenizer/tokenizer_json.hpp"

namespace sy::runtime {

/// Byte-pair encoding as a tokenizer.json of Hugging Face's tokenizers describes it, with the same ids.
///
/// Texts may hold any bytes: those that belong to no UTF-8 character are words of their own, so that they too can be
/// restored over bytes. Each token decodes to bytes of its own, whatever stands around it, so that tokens can be decoded as
/// they come; a character may span two of them. Several threads may encode at once.
class JsonTokenizer final : public Tokenizer {
  public:
    /// @throws IoError with everything in the file that is wrong or not supported
    explicit JsonTokenizer(const std::string& path);
    /// @param text  of the file `name`
    JsonTokenizer(std::string_view text, const std::string& name);

    std::string name() const override { return name_; }
    std::string identity() const override { return identity_; }
    index_t vocab_size() const override { return static_cast<index_t>(bytes_of_id_.size()); }
    std::vector<std::int32_t> encode(std::string_view text) const override;
    std::string decode(std::span<const std::int32_t> ids) const override;
    index_t num_bytes(std::int32_t id) const override;
    std::span<const std::int32_t> text_begin() const override { return text_begin_; }
    /// The last of text_end(), else the special token named as published models name theirs: <|endoftext|>,
    /// <|end_of_text|>, <｜end▁of▁sentence｜>, </s> or <eos>.
    std::optional<std::int32_t> end_of_text() const override { return end_of_text_; }
    /// Tokens that a model expects after each text; encode leaves them out.
    std::span<const std::int32_t> text_end() const { return text_end_; }

  private:
    struct Scratch {
        RegexScratch regex;
        BytePairEncoder::Scratch words;
        std::string normalized;
    };
    /// Working memory for one thread, taken from and given back to a list.
    class Loan;

    JsonTokenizer(TokenizerJson file, const std::string& name, std::string identity);
    void append_utf8(std::string_view text, Scratch& scratch, std::vector<std::int32_t>& ids) const;
    void append_plain(std::string_view text, Scratch& scratch, std::vector<std::int32_t>& ids) const;

    std::string name_;
    std::string identity_;
    Normalizer normalizer_;
    AddedTokenFinder added_to_text_;
    AddedTokenFinder added_to_normalized_;
    PreTokenizer pre_tokenizer_;
    BytePairEncoder encoder_;
    std::vector<std::optional<std::string>> bytes_of_id_;
    std::vector<std::int32_t> text_begin_;
    std::vector<std::int32_t> text_end_;
    std::optional<std::int32_t> end_of_text_;
    std::vector<index_t> num_bytes_;  ///< of each id
    mutable std::mutex mutex_;
    mutable std::vector<std::unique_ptr<Scratch>> idle_;
    mutable std::size_t num_scratches_ = 0;  ///< idle or at work
};

}  // namespace sy::runtime
