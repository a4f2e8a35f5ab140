#pragma once

#include <cstdint>

/// What tokenizer.ggml.token_type says of a token.
namespace sy::runtime::gguf {

inline constexpr std::int32_t kNormal = 1;
inline constexpr std::int32_t kControl = 3;      ///< marks structure
inline constexpr std::int32_t kUserDefined = 4;  ///< looked for in the text first
inline constexpr std::int32_t kUnused = 5;

}  // namespace sy::runtime::gguf
