#include "runtime/tokenizer/byte_level.hpp"

namespace sy::runtime {
namespace {

std::array<unsigned, 256> code_points() {
    std::array<unsigned, 256> points{};
    unsigned next = 0x100;
    for (unsigned byte = 0; byte < points.size(); ++byte) {
        const bool printable = (byte >= '!' && byte <= '~') || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
        points[byte] = printable ? byte : next++;
    }
    return points;
}

}  // namespace

std::array<std::string, 256> byte_characters() {
    std::array<std::string, 256> characters;
    const std::array<unsigned, 256> points = code_points();
    for (std::size_t byte = 0; byte < points.size(); ++byte) {
        const unsigned point = points[byte];
        if (point >= 0x80) characters[byte].push_back(static_cast<char>(0xc0U | (point >> 6U)));
        characters[byte].push_back(static_cast<char>(point < 0x80 ? point : 0x80U | (point & 0x3fU)));
    }
    return characters;
}

ByteCharacters::ByteCharacters() {
    byte_of_.fill(-1);
    const std::array<unsigned, 256> points = code_points();
    for (std::size_t byte = 0; byte < points.size(); ++byte) byte_of_[points[byte]] = static_cast<int>(byte);
}

std::optional<std::string> ByteCharacters::bytes_of(std::string_view text) const {
    std::string bytes;
    for (std::size_t place = 0; place < text.size(); ++place) {
        unsigned point = static_cast<unsigned char>(text[place]);
        if (point >= 0x80) {
            // None of the characters has more than two bytes.
            if (point >= 0xe0 || place + 1 == text.size()) return std::nullopt;
            point = ((point & 0x1fU) << 6U) | (static_cast<unsigned char>(text[++place]) & 0x3fU);
        }
        if (point >= byte_of_.size() || byte_of_[point] < 0) return std::nullopt;
        bytes.push_back(static_cast<char>(byte_of_[point]));
    }
    return bytes;
}

}  // namespace sy::runtime
