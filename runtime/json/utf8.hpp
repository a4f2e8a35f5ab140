#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace sy::runtime {

/// Whether a text is UTF-8, as JSON and with it manifests and metrics need it: no overlong forms, surrogates or numbers
/// beyond U+10FFFF.
bool is_utf8(std::string_view text);

/// Bytes of the UTF-8 character that begins at text[place]; 0 when none does. @pre place < text.size()
std::size_t character_bytes(std::string_view text, std::size_t place);

/// Whether a byte of UTF-8 is not the first of its character.
constexpr bool continues_character(char byte) {
    return (static_cast<unsigned char>(byte) & 0xc0U) == 0x80U;
}

/// The text with U+FFFD for every byte that is part of no character.
std::string valid_utf8(std::string_view text);

/// The text with \xHH for control characters and for every byte above 127, so that it can be shown whatever it is.
std::string escaped(std::string_view text);

}  // namespace sy::runtime
