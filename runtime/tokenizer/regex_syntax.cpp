#include "runtime/tokenizer/regex_syntax.hpp"

#include <algorithm>
#include <array>

#include "kernels/core/error.hpp"

namespace sy::runtime {
namespace {

bool is_one_of(char letter, std::string_view letters) {
    return letters.find(letter) != std::string_view::npos;
}

bool is_hex(char letter) {
    return is_one_of(letter, "0123456789abcdefABCDEF");
}

class Translator {
  public:
    explicit Translator(std::string_view pattern) : pattern_(pattern) {}

    std::string run() {
        while (place_ < pattern_.size()) {
            const char letter = pattern_[place_];
            if (letter == '\\') {
                escape();
            } else if (in_class_) {
                class_letter(letter);
            } else if (letter == '[') {
                begin_class();
            } else if (letter == '(') {
                group();
            } else if (letter == '{') {
                interval();
            } else {
                copy(1);
            }
        }
        return std::move(output_);
    }

  private:
    [[noreturn]] void refuse(std::string_view construct, std::string_view why) const {
        throw IoError(
            concat("the regular expression ", pattern_, " has ", construct, " at byte ", place_, ", ", why));
    }
    std::string_view rest() const { return pattern_.substr(place_); }
    void copy(std::size_t length) {
        output_ += rest().substr(0, length);
        place_ += length;
    }
    void replace(std::size_t length, std::string_view by) {
        output_ += by;
        place_ += length;
    }

    void begin_class() {
        in_class_ = true;
        copy(rest().starts_with("[^") ? 2 : 1);
        if (rest().starts_with("]")) refuse("] as the first of a class", "which is ambiguous; write \\]");
    }

    void class_letter(char letter) {
        if (letter == '[')
            refuse("[ within a class", "a nested class, which is not supported; write \\[ for the letter");
        if (rest().starts_with("&&")) refuse("&&", "an intersection of classes, which is not supported");
        in_class_ = letter != ']';
        copy(1);
    }

    void group() {
        constexpr std::array kGroups{"(?:", "(?=", "(?!", "(?<=", "(?<!", "(?>", "(?i:", "(?-i:"};
        if (rest().starts_with("(*")) refuse("(*", "which is not supported");
        if (!rest().starts_with("(?") || (place_ == 0 && rest().starts_with("(?i)"))) {
            copy(rest().starts_with("(?") ? 4 : 1);
            return;
        }
        for (const std::string_view known : kGroups) {
            if (rest().starts_with(known)) {
                copy(known.size());
                return;
            }
        }
        refuse(rest().substr(0, 4),
               "a group that is not supported; supported: (?: (?= (?! (?<= (?<! (?> (?i: (?-i:");
    }

    /// {n}, {n,} and {n,m}; another brace is a letter in both languages.
    void interval() {
        const std::size_t end = rest().find('}');
        const std::string_view body =
            end == std::string_view::npos ? std::string_view() : rest().substr(1, end - 1);
        if (body.empty() || body.find_first_not_of("0123456789,") != std::string_view::npos) {
            replace(1, "\\{");
            return;
        }
        if (body.front() == ',') refuse("{,n}", "which is not supported; write {0,n}");
        const char next = end + 1 < rest().size() ? rest()[end + 1] : ' ';
        if (next == '+' || (next == '?' && body.find(',') == std::string_view::npos))
            refuse(rest().substr(0, end + 2),
                   "a quantifier of a quantifier in Ruby's syntax; write (?:...) around the first");
        copy(end + 1);
    }

    void escape() {
        if (rest().size() < 2) refuse("a backslash as its last letter", "which escapes nothing");
        const char letter = rest()[1];
        switch (letter) {
            case 's':
                return replace(2, "\\p{White_Space}");
            case 'S':
                return replace(2, "\\P{White_Space}");
            case 'd':
                return replace(2, "\\p{Nd}");
            case 'D':
                return replace(2, "\\P{Nd}");
            case 'w':
                return replace(2, in_class_ ? kWord : concat("[", kWord, "]"));
            case 'W':
                if (in_class_) refuse("\\W within a class", "which is not supported");
                return replace(2, concat("[^", kWord, "]"));
            case 'v':
                return replace(2, "\\x0b");
            case 'p':
            case 'P':
                return property();
            case 'x':
            case 'u':
                return code_point();
            default:
                break;
        }
        const bool is_letter = (letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z');
        const bool is_anchor = !in_class_ && is_one_of(letter, "AzZ");
        if (is_one_of(letter, "0123456789") || (is_letter && !is_anchor && !is_one_of(letter, "nrtfae")))
            refuse(rest().substr(0, 2), "an escape that is not supported");
        copy(2);
    }

    void property() {
        const std::size_t end = rest().find('}');
        if (rest().size() < 4 || rest()[2] != '{' || end == std::string_view::npos)
            refuse(rest().substr(0, 3), "a property without its name in braces");
        std::string_view name = rest().substr(3, end - 3);
        const bool negated = name.starts_with("^");
        if (negated) name.remove_prefix(1);
        const bool plain = !name.empty() && std::ranges::all_of(name, [](char c) {
            return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
        });
        if (!plain) refuse(rest().substr(0, end + 1), "a property that is not supported");
        // PCRE2 takes a script's name for the script and its extensions.
        replace(end + 1,
                concat(rest().substr(0, 3), negated ? "^" : "", name.size() > 2 ? "sc:" : "", name, "}"));
    }

    void code_point() {
        if (rest().starts_with("\\x{")) {
            const std::size_t end = rest().find('}');
            if (end == std::string_view::npos || end == 3 ||
                !std::ranges::all_of(rest().substr(3, end - 3), is_hex))
                refuse("\\x{", "without a hexadecimal number and }");
            return copy(end + 1);
        }
        const std::size_t digits = rest()[1] == 'u' ? 4 : 2;
        const std::string_view number = rest().substr(2, digits);
        if (number.size() < digits || !std::ranges::all_of(number, is_hex))
            refuse(rest().substr(0, 2), concat("without ", digits, " hexadecimal digits"));
        // A byte of a longer character in Oniguruma, a character in PCRE2.
        if (digits == 2 && number[0] >= '8') refuse(rest().substr(0, 4), "which is no character; write \\u");
        replace(2 + digits, concat("\\x{", number, "}"));
    }

    /// Oniguruma's word characters.
    static constexpr const char* kWord = "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}";

    std::string_view pattern_;
    std::size_t place_ = 0;
    bool in_class_ = false;
    std::string output_;
};

}  // namespace

std::string pcre2_pattern(std::string_view pattern) {
    return Translator(pattern).run();
}

std::string literal_pattern(std::string_view text) {
    std::string pattern;
    for (const char letter : text) {
        if (is_one_of(letter, "\\^$.[]|()?*+{}-&#/")) pattern += '\\';
        pattern += letter;
    }
    return pattern;
}

}  // namespace sy::runtime
