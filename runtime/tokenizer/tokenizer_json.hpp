#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/tokenizer/added_tokens.hpp"
#include "runtime/tokenizer/bpe.hpp"
#include "runtime/tokenizer/part_reader.hpp"
#include "runtime/tokenizer/pre_tokenizer.hpp"

namespace sy::runtime {

enum class Normalizer { none, nfc };

/// What a tokenizer.json says, checked.
struct TokenizerJson {
    Normalizer normalizer = Normalizer::none;
    std::vector<PreTokenizerStep> steps;
    BpeRules rules;
    std::vector<AddedToken> added;
    /// The bytes that each id stands for; nothing for ids without a token.
    std::vector<std::optional<std::string>> bytes_of_id;
    std::vector<std::int32_t> text_begin;  ///< tokens that a model expects before each text
    std::vector<std::int32_t> text_end;    ///< and after it
};

/// @param text  of the file
/// @param name  of the file, for messages
/// @throws IoError with everything in it that is wrong or not supported
TokenizerJson read_tokenizer_json(std::string_view text, const std::string& name);

/// The parts of the reading, for read_tokenizer_json alone: vocabulary, merges and added tokens; normalizer,
/// pre-tokenizers, post-processor and decoder.
void read_vocabulary(const PartReader::Part& file, PartReader& reader, TokenizerJson& result);
void read_steps(const PartReader::Part& file, PartReader& reader, TokenizerJson& result);

}  // namespace sy::runtime
