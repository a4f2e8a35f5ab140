#pragma once

#include <optional>

#include "runtime/interchange/gguf/tokenizer.hpp"

/// What the keys of a tokenizer in someone else's file hold, for those who read one.
namespace sy::runtime::gguf {

/// Null where there is no such key, or one of another type.
template <class T>
const T* value_of(const Header& header, std::string_view name) {
    const Value* const value = header.find(name);
    return value != nullptr ? std::get_if<T>(value) : nullptr;
}

template <class T>
const std::vector<T>* array_of(const Header& header, std::string_view name) {
    const auto* const array = value_of<Array>(header, name);
    return array != nullptr ? std::get_if<std::vector<T>>(array) : nullptr;
}

/// Empty where there is none.
inline std::string text_of(const Header& header, std::string_view name) {
    const auto* const text = value_of<std::string>(header, name);
    return text != nullptr ? *text : std::string();
}

/// The id that a key names; nothing where it is missing. @throws IoError when it is that of no token
inline std::optional<std::size_t> token_id(const Header& header, std::string_view name,
                                           std::size_t num_tokens) {
    if (header.find(name) == nullptr) return std::nullopt;
    const auto* const id = value_of<std::uint32_t>(header, name);
    if (id == nullptr || *id >= num_tokens) throw IoError(concat(name, " is no token's id"));
    return *id;
}

/// tokenizer_config.json: which tokens begin and end a text.
std::string tokenizer_config(const Header& header, const std::vector<std::string>& tokens,
                             const char* tokenizer_class);

/// The tokenizer.model that a file's keys mean. @throws IoError saying what no such model can be
TokenizerText read_sentencepiece(const Header& header);

/// The tokenizer.json of WordPiece that a file's keys mean. @throws IoError saying which of them are missing
TokenizerText read_wordpiece(const Header& header);

}  // namespace sy::runtime::gguf
