#pragma once

#include <string>
#include <vector>

#include "kernels/core/types.hpp"

namespace sy::runtime {

/// A file of data.path and its share of the samples.
struct WeightedPath {
    std::string path;
    index_t weight =
        0;  ///< relative to the others', in lowest terms; 0 for all where data.path gives no weights

    bool operator==(const WeightedPath&) const = default;
};

/// The files that data.path names, joined by commas: either all with a weight or none. A weight is what follows the last
/// colon of an entry if that is a decimal number: digits, perhaps with a point among them, nothing else. A file whose own
/// name ends in a colon and a number is therefore given with a weight behind it ("a:1:1"), and a name with a comma cannot
/// be given.
/// @throws ConfigError with everything that is wrong: no path, weights for some files only, weights that are 0, above 1000
///         or of more than 6 decimals, or that come to more than 9 * 10^9 in lowest terms
std::vector<WeightedPath> parse_data_path(const std::string& text);

}  // namespace sy::runtime
