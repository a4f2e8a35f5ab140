#pragma once

#include <string>
#include <string_view>

namespace sy::runtime {

/// The same pattern for PCRE2 (with UTF, UCP and MULTILINE) as `pattern` is for Oniguruma in Ruby's syntax, the language
/// of tokenizer.json. Where the two differ, the pattern is rewritten: \s and \d and \w by Unicode's properties, scripts
/// without their extensions, \v as one character. What cannot be carried over is refused, never approximated.
/// @throws IoError naming the construct and where it stands
std::string pcre2_pattern(std::string_view pattern);

/// A pattern that matches `text` and nothing else.
std::string literal_pattern(std::string_view text);

}  // namespace sy::runtime
