#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace sy::runtime {

/// What the file of a tokenizer is called in a folder: that of Hugging Face's tokenizers, and SentencePiece's, the second
/// beside a T5.
inline constexpr const char* kTokenizerJson = "tokenizer.json";
inline constexpr const char* kSentencePieceNames[] = {"tokenizer.model", "spiece.model"};

/// Whether a file has one of these names.
bool has_tokenizer_name(const std::filesystem::path& file);

/// The file by which texts are encoded: tokenizer.json, unless it holds a unigram model, as those of T5 do, and SentencePiece's
/// own file is beside it: unigram models are read from that alone.
/// @return  nothing when there is neither
std::optional<std::filesystem::path> tokenizer_file_in(const std::filesystem::path& folder);

/// The bytes of a tokenizer's file.
/// @param kind  what the file should be, for messages: "tokenizer.json"
/// @throws IoError when it is missing, no regular file, larger than any such file or unreadable
std::string read_tokenizer_file(const std::string& path, const char* kind);

/// "bpe xxh3:0123456789abcdef": what decides the ids of a tokenizer that `bytes` describe.
std::string tokenizer_identity(const char* kind, std::string_view bytes);

}  // namespace sy::runtime
