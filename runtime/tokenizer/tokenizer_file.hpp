#pragma once

#include <string>
#include <string_view>

namespace sy::runtime {

/// The bytes of a tokenizer's file.
/// @param kind  what the file should be, for messages: "tokenizer.json"
/// @throws IoError when it is missing, no regular file, larger than any such file or unreadable
std::string read_tokenizer_file(const std::string& path, const char* kind);

/// "bpe xxh3:0123456789abcdef": what decides the ids of a tokenizer that `bytes` describe.
std::string tokenizer_identity(const char* kind, std::string_view bytes);

}  // namespace sy::runtime
