#pragma once

#include <string>
#include <string_view>

namespace sy::runtime {

/// Whether a text is UTF-8, as JSON and with it manifests and metrics need it: no overlong forms, surrogates or numbers
/// beyond U+10FFFF.
bool is_utf8(std::string_view text);

/// The text with \xHH for control characters and for every byte above 127, so that it can be shown whatever it is.
std::string escaped(std::string_view text);

}  // namespace sy::runtime
