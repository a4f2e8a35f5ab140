#pragma once

#include <string>
#include <string_view>

namespace sy::runtime {

/// Unicode's normalization form C of a text. The library behind it is named in nfc.cpp alone.
/// @param text     well-formed UTF-8
/// @param storage  holds the result where it differs from the text
/// @return         the text itself, or `storage`
/// @throws Error when there is no memory
std::string_view normalize_nfc(std::string_view text, std::string& storage);

}  // namespace sy::runtime
