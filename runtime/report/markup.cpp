#include "runtime/report/markup.hpp"

#include <array>
#include <charconv>
#include <cmath>

#include "runtime/json/utf8.hpp"

namespace sy::runtime {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

std::string without_trailing_zeros(std::string text) {
    if (text.find('.') == std::string::npos) return text;
    text.erase(text.find_last_not_of('0') + 1);
    if (text.back() == '.') text.pop_back();
    return text;
}

std::string formatted(double value, std::chars_format format, int precision) {
    // The largest double has 309 digits before its point.
    std::array<char, 400> buffer{};
    const auto result = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value, format, precision);
    std::string text(buffer.data(), result.ptr);
    return text.find_first_not_of("-0.") == std::string::npos && text[0] == '-' ? text.substr(1) : text;
}

/// "3.20e-05" as "3.2e-5".
std::string scientific(double value, int digits) {
    const std::string text = formatted(value, std::chars_format::scientific, digits - 1);
    const std::size_t e = text.find('e');
    const int exponent = std::stoi(text.substr(e + 1));
    return without_trailing_zeros(text.substr(0, e)).append("e").append(std::to_string(exponent));
}

/// U+FFFE and U+FFFF, which XML does not allow. @pre text is UTF-8
bool is_forbidden(std::string_view character) {
    return character == "\xEF\xBF\xBE" || character == "\xEF\xBF\xBF";
}

}  // namespace

std::string escape(std::string_view text) {
    const std::string valid = valid_utf8(text);
    std::string escaped_text;
    escaped_text.reserve(valid.size());
    for (std::size_t i = 0; i < valid.size();) {
        const std::size_t length = character_bytes(valid, i);
        const std::string_view character = std::string_view(valid).substr(i, length);
        i += length;
        const char first = character[0];
        if (first == '&') {
            escaped_text += "&amp;";
        } else if (first == '<') {
            escaped_text += "&lt;";
        } else if (first == '>') {
            escaped_text += "&gt;";
        } else if (first == '"') {
            escaped_text += "&quot;";
        } else if (first == '\'') {
            escaped_text += "&#39;";
        } else if (is_forbidden(character) ||
                   (static_cast<unsigned char>(first) < 0x20 && first != '\n' && first != '\t')) {
            escaped_text += kReplacement;
        } else {
            escaped_text += character;
        }
    }
    return escaped_text;
}

std::string fixed_text(double value, int decimals) {
    return formatted(value, std::chars_format::fixed, decimals);
}

std::string coordinate(double value) {
    return without_trailing_zeros(fixed_text(value, 2));
}

std::string short_number(double value) {
    if (std::isnan(value)) return "nan";
    if (std::isinf(value)) return value > 0.0 ? "inf" : "-inf";
    if (value == 0.0) return "0";
    const double size = std::abs(value);
    if (size < 1e-3 || size >= 1e15) return scientific(value, 3);
    struct Unit {
        double factor;
        const char* suffix;
    };
    constexpr std::array kUnits{Unit{1e12, "T"}, Unit{1e9, "G"}, Unit{1e6, "M"}, Unit{1e3, "k"}};
    double factor = 1.0;
    const char* suffix = "";
    for (const Unit& unit : kUnits) {
        // Up to 9999 a number stays whole.
        if (size < unit.factor || size < 1e4) continue;
        factor = unit.factor;
        suffix = unit.suffix;
        break;
    }
    const double scaled = value / factor;
    const int decimals = std::max(0, 3 - static_cast<int>(std::floor(std::log10(std::abs(scaled)))));
    return without_trailing_zeros(fixed_text(scaled, decimals)) + suffix;
}

}  // namespace sy::runtime
