#include <algorithm>
#include <limits>
#include <numeric>

#include "runtime/config/option.hpp"

namespace sy::runtime {
namespace {

/// Letters to change, drop, add or swap with their neighbour to make one name of the other.
/// @par Source  optimal string alignment; Damerau (1964)
std::size_t edit_distance(const std::string& a, const std::string& b) {
    std::vector<std::vector<std::size_t>> cost(a.size() + 1, std::vector<std::size_t>(b.size() + 1));
    for (std::size_t i = 0; i <= a.size(); ++i) cost[i][0] = i;
    std::iota(cost[0].begin(), cost[0].end(), std::size_t{0});
    for (std::size_t i = 1; i <= a.size(); ++i) {
        for (std::size_t j = 1; j <= b.size(); ++j) {
            const std::size_t changed = cost[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
            cost[i][j] = std::min({cost[i - 1][j] + 1, cost[i][j - 1] + 1, changed});
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                cost[i][j] = std::min(cost[i][j], cost[i - 2][j - 2] + 1);
        }
    }
    return cost[a.size()][b.size()];
}

}  // namespace

std::string nearest_name(const std::string& word, const std::vector<std::string>& candidates) {
    const std::size_t most = std::max<std::size_t>(1, word.size() / 3);
    std::string nearest;
    std::size_t least = std::numeric_limits<std::size_t>::max();
    for (const std::string& candidate : candidates) {
        // A letter has to be added or dropped for each that one of them has more. So a word of megabytes is compared with
        // nothing.
        if (std::max(word.size(), candidate.size()) - std::min(word.size(), candidate.size()) > most)
            continue;
        const std::size_t distance = edit_distance(word, candidate);
        if (distance >= least) continue;
        least = distance;
        nearest = candidate;
    }
    return least <= most ? nearest : std::string{};
}

std::string suggestion(const std::string& word, const std::vector<std::string>& candidates,
                       const std::string& otherwise) {
    const std::string nearest = nearest_name(word, candidates);
    return nearest.empty() ? otherwise : concat("; did you mean ", nearest, "?");
}

}  // namespace sy::runtime
