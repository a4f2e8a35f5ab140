#include "runtime/config/config_file.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <sstream>
#include <utility>

#include "kernels/core/error.hpp"
#include "runtime/json/utf8.hpp"

namespace sy::runtime {
namespace {

constexpr const char* kBlank = " \t\r\n";

int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return -1;
}

/// Position of a comment's '#': at the start, or after a blank.
std::size_t find_comment(const std::string& text, std::size_t from) {
    for (std::size_t i = from; i < text.size(); ++i) {
        if (text[i] == '#' && (i == 0 || text[i - 1] == ' ' || text[i - 1] == '\t')) return i;
    }
    return text.size();
}

/// The character that an escape stands for, moving `i` to its last letter.
std::optional<char> unescape(const std::string& text, std::size_t& i) {
    if (i + 1 >= text.size()) return std::nullopt;
    const char letter = text[++i];
    if (letter == 'n') return '\n';
    if (letter == 't') return '\t';
    if (letter == '"' || letter == '\\') return letter;
    if (letter != 'x' || i + 2 >= text.size()) return std::nullopt;
    const int high = hex_digit(text[i + 1]);
    const int low = hex_digit(text[i + 2]);
    if (high < 0 || low < 0) return std::nullopt;
    i += 2;
    return static_cast<char>(high * 16 + low);
}

/// What stands behind '='. @return the problem, or empty
std::string read_value(const std::string& written, std::string& value) {
    const std::string text = trim(written);
    if (text.empty() || text.front() != '"') {
        value = trim(text.substr(0, find_comment(text, 0)));
        return {};
    }
    for (std::size_t i = 1; i < text.size(); ++i) {
        if (text[i] == '"') {
            const std::string rest = trim(text.substr(i + 1));
            if (rest.empty() || rest.front() == '#') return {};
            return concat("'", rest,
                          "' follows the closing quote; remove it, or write \\\" for a quote inside");
        }
        if (text[i] != '\\') {
            value.push_back(text[i]);
            continue;
        }
        const std::size_t start = i;
        const std::optional<char> character = unescape(text, i);
        if (!character) {
            return concat("'", text.substr(start, 2),
                          "' is no escape; use \\n, \\t, \\\", \\\\ or \\xHH (lower case)");
        }
        value.push_back(*character);
    }
    return "the closing quote is missing";
}

/// Where each key of each section was set first.
using Places = std::map<std::pair<std::string, std::string>, std::string>;

void read_line(const std::string& line, const std::string& place, std::string& section, Places& places,
               ConfigText& result) {
    if (line.front() == '[') {
        const std::string header = trim(line.substr(0, find_comment(line, 0)));
        section = header.back() == ']' ? trim(header.substr(1, header.size() - 2)) : std::string{};
        if (section.empty()) result.problems.push_back(concat(place, ": '", header, "' is no [section]"));
        return;
    }
    const auto equals = line.find('=');
    if (equals == std::string::npos) {
        result.problems.push_back(concat(place, ": '", line, "' is neither [section] nor key = value"));
        return;
    }
    Setting setting{section, trim(line.substr(0, equals)), {}, place};
    const std::string problem = read_value(line.substr(equals + 1), setting.value);
    if (!problem.empty()) {
        result.problems.push_back(concat(place, ": ", setting.key, ": ", problem));
        return;
    }
    const auto [earlier, is_first] = places.try_emplace({section, setting.key}, place);
    if (is_first) {
        result.settings.push_back(std::move(setting));
    } else {
        result.problems.push_back(
            concat(place, ": ", setting.key, " is set already at ", earlier->second, "; remove one"));
    }
}

}  // namespace

std::string trim(const std::string& text) {
    const auto first = text.find_first_not_of(kBlank);
    if (first == std::string::npos) return {};
    return text.substr(first, text.find_last_not_of(kBlank) - first + 1);
}

ConfigText read_config_text(const std::string& text, const std::string& name) {
    ConfigText result;
    // Some editors begin UTF-8 with a byte order mark, which means nothing.
    std::istringstream lines(text.starts_with("\xef\xbb\xbf") ? text.substr(3) : text);
    std::string section;
    Places places;
    int number = 0;
    if (text.starts_with("\xff\xfe") || text.starts_with("\xfe\xff")) {
        result.problems.push_back(concat(name, " is UTF-16; save it as UTF-8"));
        return result;
    }
    for (std::string line; std::getline(lines, line);) {
        ++number;
        line = trim(line);
        if (line.empty() || line.front() == '#') continue;
        const std::string place = concat(name, ":", number);
        if (is_utf8(line)) {
            read_line(line, place, section, places, result);
        } else {
            result.problems.push_back(
                concat(place, ": '", escaped(line), "' is not UTF-8; save the file as UTF-8"));
        }
    }
    return result;
}

std::string quote_if_needed(const std::string& value) {
    const bool plain = !value.empty() && value == trim(value) && value.front() != '"' &&
                       std::none_of(value.begin(), value.end(), [](char c) {
                           return c == '#' || static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
                       });
    if (plain) return value;
    constexpr std::array<char, 17> kDigits{"0123456789abcdef"};
    std::string text = "\"";
    for (const char c : value) {
        const auto byte = static_cast<unsigned char>(c);
        if (c == '"' || c == '\\') {
            text += {'\\', c};
        } else if (c == '\n') {
            text += "\\n";
        } else if (c == '\t') {
            text += "\\t";
        } else if (byte < 0x20 || byte == 0x7f) {
            text += {'\\', 'x', kDigits[byte / 16], kDigits[byte % 16]};
        } else {
            text.push_back(c);
        }
    }
    return text + "\"";
}

}  // namespace sy::runtime
