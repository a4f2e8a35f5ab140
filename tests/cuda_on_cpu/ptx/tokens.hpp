#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace sy::emulation::ptx {

/// A word (a name, a directive, an instruction with its modifiers, a number), a text in quotes, or a sign.
struct Token {
    enum class Kind { word, quoted, sign, end };
    Kind kind = Kind::end;
    std::string_view text;  ///< of the module's text
    int line = 0;

    bool is(std::string_view expected) const { return kind != Kind::quoted && text == expected; }
};

/// Without comments; the last one is of kind `end`.
std::vector<Token> tokens_of(std::string_view text);

}  // namespace sy::emulation::ptx
