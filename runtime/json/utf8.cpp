#include "runtime/json/utf8.hpp"

namespace sy::runtime {
namespace {

/// Bytes of the character that begins with `first`; 0 when none does.
/// @par Source  RFC 3629, section 4
std::size_t length_of(unsigned char first) {
    if (first < 0x80) return 1;
    if (first >= 0xc2 && first <= 0xdf) return 2;
    if (first >= 0xe0 && first <= 0xef) return 3;
    if (first >= 0xf0 && first <= 0xf4) return 4;
    return 0;
}

/// Whether the second byte is in the range that the first one leaves.
bool second_fits(unsigned char first, unsigned char second) {
    const unsigned char low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
    const unsigned char high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
    return second >= low && second <= high;
}

}  // namespace

std::size_t character_bytes(std::string_view text, std::size_t place) {
    const auto byte = [&](std::size_t idx) { return static_cast<unsigned char>(text[idx]); };
    const std::size_t length = length_of(byte(place));
    if (length <= 1) return length;
    if (place + length > text.size() || !second_fits(byte(place), byte(place + 1))) return 0;
    for (std::size_t next = 2; next < length; ++next)
        if (!continues_character(text[place + next])) return 0;
    return length;
}

bool is_utf8(std::string_view text) {
    for (std::size_t place = 0; place < text.size();) {
        const std::size_t length = character_bytes(text, place);
        if (length == 0) return false;
        place += length;
    }
    return true;
}

std::string valid_utf8(std::string_view text) {
    std::string valid;
    for (std::size_t place = 0; place < text.size();) {
        const std::size_t length = character_bytes(text, place);
        valid += length == 0 ? "\xef\xbf\xbd" : text.substr(place, length);
        place += length == 0 ? 1 : length;
    }
    return valid;
}

std::string escaped(std::string_view text) {
    constexpr std::string_view kDigits = "0123456789abcdef";
    std::string safe;
    for (const char letter : text) {
        const auto byte = static_cast<unsigned char>(letter);
        if (byte >= 0x20 && byte < 0x7f) {
            safe += letter;
        } else {
            safe += "\\x";
            safe += kDigits[byte / 16];
            safe += kDigits[byte % 16];
        }
    }
    return safe;
}

}  // namespace sy::runtime
