#include "tests/cuda_on_cpu/ptx/tokens.hpp"

#include <algorithm>
#include <cctype>

namespace sy::emulation::ptx {
namespace {

bool is_of_word(char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '$' || c == '%' || c == '.';
}

/// Where the word ends that begins at `at`; `::` stands within words, as in .L2::128B.
std::size_t end_of_word(std::string_view text, std::size_t at) {
    while (at < text.size()) {
        if (is_of_word(text[at])) {
            ++at;
        } else if (text.substr(at, 2) == "::") {
            at += 2;
        } else {
            break;
        }
    }
    return at;
}

/// Where comments and spaces end that begin at `at`, if there are any.
std::size_t end_of_gap(std::string_view text, std::size_t at) {
    const auto after = [&](std::string_view closing) {
        const std::size_t found = text.find(closing, at + 2);
        return found == std::string_view::npos ? text.size() : found + closing.size();
    };
    for (;;) {
        if (text.substr(at, 2) == "//") {
            at = after("\n");
        } else if (text.substr(at, 2) == "/*") {
            at = after("*/");
        } else if (at < text.size() && std::isspace(static_cast<unsigned char>(text[at])) != 0) {
            ++at;
        } else {
            return at;
        }
    }
}

}  // namespace

std::vector<Token> tokens_of(std::string_view text) {
    std::vector<Token> tokens;
    int line = 1;
    std::size_t at = 0;
    const auto advance = [&](std::size_t to) {
        for (; at < to; ++at) line += text[at] == '\n' ? 1 : 0;
    };
    for (advance(end_of_gap(text, at)); at < text.size(); advance(end_of_gap(text, at))) {
        Token token{Token::Kind::sign, text.substr(at, 1), line};
        if (is_of_word(text[at])) {
            token.kind = Token::Kind::word;
            token.text = text.substr(at, end_of_word(text, at) - at);
        } else if (text[at] == '"') {
            const std::size_t closing = std::min(text.find('"', at + 1), text.size() - 1);
            tokens.push_back({Token::Kind::quoted, text.substr(at + 1, closing - at - 1), line});
            advance(closing + 1);
            continue;
        }
        tokens.push_back(token);
        advance(at + token.text.size());
    }
    tokens.push_back({Token::Kind::end, "", line});
    return tokens;
}

}  // namespace sy::emulation::ptx
