#include "runtime/config/option.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>
#include <optional>

#include "runtime/config/config_file.hpp"

namespace sy::runtime {
namespace {

/// Shortest text that reads back to the same value.
template <class T>
std::string print(T value) {
    std::array<char, 64> text{};
    const auto end = std::to_chars(text.data(), text.data() + text.size(), value).ptr;
    return {text.data(), end};
}

/// All of `text` as a T.
template <class T>
std::optional<T> read(const std::string& text) {
    T value{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
    return value;
}

template <class T>
std::string range_text(const char* kind, T low, T high, T unlimited) {
    if (high == unlimited) return concat(kind, " of at least ", print(low));
    return concat(kind, " from ", print(low), " to ", print(high));
}

/// The range for a table, without bounds that only keep out nonsense.
template <class T>
std::string short_range(T low, T high) {
    return static_cast<double>(high) > 10000.0 ? concat(">= ", print(low))
                                               : concat(print(low), " to ", print(high));
}

/// A number as people also write it: 10k, 2 M, 5 steps, 0,1. Empty for all else.
std::optional<double> read_loosely(std::string text, const Option& option) {
    if (option.type == OptionType::number) std::replace(text.begin(), text.end(), ',', '.');
    double value = 0.0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || std::isnan(value)) return std::nullopt;
    const std::string behind = trim(text.substr(static_cast<std::size_t>(end - text.data())));
    if (behind.empty() || behind == option.unit) return value;
    if (behind == "k" || behind == "K") return value * 1e3;
    if (behind == "M") return value * 1e6;
    if (behind == "G") return value * 1e9;
    return std::nullopt;
}

/// The value in [low, high] that was most likely meant by `text`; empty when it says nothing.
template <class T>
std::string try_instead(const std::string& text, const Option& option, T low, T high) {
    const std::optional<double> value = read_loosely(text, option);
    if (!value) return {};
    const double nearest = std::clamp(*value, static_cast<double>(low), static_cast<double>(high));
    if (nearest == static_cast<double>(low)) return print(low);
    if (nearest == static_cast<double>(high)) return print(high);
    if constexpr (std::is_integral_v<T>) return print(static_cast<T>(std::llround(nearest)));
    return print(nearest);
}

std::string lower_case(std::string text) {
    std::transform(text.begin(), text.end(), text.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return text;
}

/// "yes" and "no" for the other ways to say them; all else as it is.
std::string flag_word(const std::string& text) {
    const std::string word = lower_case(text);
    for (const char* yes : {"yes", "true", "on", "1"}) {
        if (word == yes) return "yes";
    }
    for (const char* no : {"no", "false", "off", "0"}) {
        if (word == no) return "no";
    }
    return text;
}

std::string wrong(const std::string& text, const Option& option, const std::string& instead) {
    return concat("'", text, "' is not ", option.expected, "; ",
                  instead.empty() ? "the default is " + option.initial : "try " + instead);
}

}  // namespace

Option& OptionTable::add(const Words& words, OptionType type, std::string expected) {
    Option& option = options_.emplace_back();
    option.name = words.name;
    option.type = type;
    option.expected = std::move(expected);
    option.unit = words.unit;
    option.help = words.help;
    return option;
}

template <class T>
void OptionTable::whole(const Words& words, T& field, T low, T high) {
    Option& option = add(words, OptionType::whole_number,
                         range_text("a whole number", low, high, std::numeric_limits<T>::max()));
    option.range = short_range(low, high);
    option.initial = print(field);
    option.get = [&field] { return print(field); };
    option.set = [&field, low, high, copy = option](const std::string& written) {
        const std::string text = trim(written);
        const std::optional<T> value = read<T>(text);
        if (!value || *value < low || *value > high)
            return wrong(text, copy, try_instead(text, copy, low, high));
        field = *value;
        return std::string{};
    };
}
template void OptionTable::whole(const Words&, index_t&, index_t, index_t);
template void OptionTable::whole(const Words&, std::uint64_t&, std::uint64_t, std::uint64_t);

void OptionTable::number(const Words& words, double& field, double low, double high) {
    Option& option =
        add(words, OptionType::number, range_text("a number", low, high, std::numeric_limits<double>::max()));
    option.range = short_range(low, high);
    option.initial = print(field);
    option.get = [&field] { return print(field); };
    option.set = [&field, low, high, copy = option](const std::string& written) {
        const std::string text = trim(written);
        const std::optional<double> value = read<double>(text);
        if (!value || !(*value >= low && *value <= high))
            return wrong(text, copy, try_instead(text, copy, low, high));
        field = *value;
        return std::string{};
    };
}

void OptionTable::text(const Words& words, std::string& field) {
    Option& option = add(words, OptionType::text, "text");
    option.initial = field;
    option.get = [&field] { return field; };
    option.set = [&field](const std::string& text) {
        field = text;
        return std::string{};
    };
}

void OptionTable::flag(const Words& words, bool& field) {
    choice<bool>(words, field, {{"no", false}, {"yes", true}}, OptionType::flag);
}

void OptionTable::one_of(const Words& words, OptionType type, const std::vector<std::string>& known,
                         std::function<std::size_t()> get, std::function<void(std::size_t)> set) {
    std::string joined;
    for (const std::string& word : known) joined += (joined.empty() ? "" : "|") + word;
    Option& option = add(words, type, known.size() == 1 ? known.front() : "one of " + joined);
    option.range = joined;
    option.get = [known, get = std::move(get)] {
        const std::size_t idx = get();
        if (idx < known.size()) return known[idx];
        throw LogicError("option: a field holds a value that its table does not know");
    };
    option.initial = option.get();
    option.set = [known, set = std::move(set), copy = option](const std::string& written) {
        const std::string text = trim(written);
        const std::string word = copy.type == OptionType::flag ? flag_word(text) : text;
        const auto found = std::find(known.begin(), known.end(), word);
        if (found == known.end()) return wrong(text, copy, nearest_name(lower_case(text), known));
        set(static_cast<std::size_t>(found - known.begin()));
        return std::string{};
    };
}

}  // namespace sy::runtime
