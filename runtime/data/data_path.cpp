#include "runtime/data/data_path.hpp"

#include <algorithm>
#include <numeric>
#include <optional>
#include <sstream>
#include <string_view>

namespace sy::runtime {
namespace {

constexpr index_t kUnits = 1'000'000;  ///< of a weight of 1
constexpr index_t kMostWeight = 1000;
constexpr index_t kMostTogether = 9'000'000'000;  ///< in lowest terms, for mixture_sample
constexpr std::size_t kMostDecimals = 6;
constexpr std::size_t kMostDigits = 4;

/// The number behind the last colon; nothing when there is none.
std::optional<std::string_view> weight_of(std::string_view entry) {
    const std::size_t colon = entry.rfind(':');
    if (colon == std::string_view::npos || colon == 0) return std::nullopt;
    const std::string_view number = entry.substr(colon + 1);
    if (number.find_first_not_of("0123456789.") != std::string_view::npos ||
        number.find_first_of("0123456789") == std::string_view::npos || std::ranges::count(number, '.') > 1)
        return std::nullopt;
    return number;
}

/// A decimal number in millionths; 0 when it is 0, too large or too fine.
index_t in_units(std::string_view number) {
    const std::size_t point = number.find('.');
    const std::string_view whole = number.substr(0, point);
    const std::string_view decimals =
        point == std::string_view::npos ? std::string_view() : number.substr(point + 1);
    if (whole.size() > kMostDigits || decimals.size() > kMostDecimals) return 0;
    index_t units = 0;
    for (const char digit : whole) units = 10 * units + (digit - '0');
    for (std::size_t i = 0; i < kMostDecimals; ++i)
        units = 10 * units + (i < decimals.size() ? decimals[i] - '0' : 0);
    return units > kMostWeight * kUnits ? 0 : units;
}

}  // namespace

std::vector<WeightedPath> parse_data_path(const std::string& text) {
    if (text.empty())
        throw ConfigError("data.path is not set; name a text file, for example --set data.path=book.txt");
    std::vector<WeightedPath> files;
    std::vector<std::string> problems;
    std::size_t num_weights = 0;
    std::istringstream list(text);
    for (std::string entry; std::getline(list, entry, ',');) {
        const std::optional<std::string_view> number = weight_of(entry);
        if (!number) {
            files.push_back({entry, 0});
            continue;
        }
        ++num_weights;
        const index_t weight = in_units(*number);
        if (weight == 0)
            problems.push_back(concat("data.path: the weight of ", entry, " is not above 0 and at most ",
                                      kMostWeight, ", with at most ", kMostDecimals, " decimals"));
        files.push_back({entry.substr(0, entry.size() - number->size() - 1), weight});
    }
    if (num_weights > 0 && num_weights < files.size())
        problems.push_back(concat("data.path = ", text, ": ", num_weights, " of ", files.size(),
                                  " files have a weight behind a colon; give all of them one, or none"));
    if (!problems.empty()) throw ConfigError(problems);
    index_t common = 0;
    for (const WeightedPath& file : files) common = std::gcd(common, file.weight);
    if (common == 0) return files;
    index_t together = 0;
    for (WeightedPath& file : files) together += file.weight /= common;
    if (together > kMostTogether)
        throw ConfigError(concat("data.path: its ", files.size(), " weights are ", together,
                                 " parts of the finest of them together, at most ", kMostTogether,
                                 " can be served exactly; round them"));
    return files;
}

}  // namespace sy::runtime
