#include "runtime/cli/doctor_text.hpp"

#include <algorithm>
#include <map>
#include <sstream>

#include "comm/axes.hpp"
#include "kernels/core/error.hpp"

namespace sy::runtime {

std::string findings_text(std::span<const Finding> findings) {
    std::size_t width = 0;
    for (const Finding& finding : findings) width = std::max(width, finding.name.size());
    std::string text;
    for (const Finding& finding : findings) {
        std::istringstream lines(finding.value);
        std::string name = finding.name;
        std::string line;
        while (std::getline(lines, line)) {
            text += name + std::string(width + 2 - name.size(), ' ') + line + "\n";
            name.clear();
        }
    }
    return text;
}

std::string ranges_text(std::span<const int> numbers) {
    std::string text;
    for (std::size_t first = 0; first < numbers.size();) {
        std::size_t last = first;
        while (last + 1 < numbers.size() && numbers[last + 1] == numbers[last] + 1) ++last;
        text += concat(text.empty() ? "" : " ", numbers[first]);
        if (last > first) text += concat(last == first + 1 ? " " : "-", numbers[last]);
        first = last + 1;
    }
    return text;
}

std::string ranks_text(std::span<const RankPlace> places) {
    const auto counted = [](std::span<const int> ranks) {
        return concat(ranks.size() == 1 ? "rank " : "ranks ", ranges_text(ranks));
    };
    std::map<int, std::vector<int>> ranks_of_node;
    const comm::PerRankSpan<const RankPlace> place_of = places;
    for (int rank = 0; rank < place_of.size(); ++rank) ranks_of_node[place_of[rank].node].push_back(rank);
    std::string text;
    for (const auto& [node, ranks] : ranks_of_node) {
        text += concat(text.empty() ? "" : "\n", "node ", node, ", ", place_of[ranks.front()].host, ": ",
                       counted(ranks));
        std::map<std::string, std::vector<int>> sharing;
        for (const int rank : ranks) sharing[place_of[rank].processors].push_back(rank);
        for (const auto& [processors, sharers] : sharing)
            text += concat("\n  ", counted(sharers), " on hardware threads ", processors);
    }
    return text;
}

std::string chosen_setting(const std::string& text) {
    const std::size_t open = text.find('[');
    const std::size_t close = text.find(']', open == std::string::npos ? 0 : open);
    if (open == std::string::npos || close == std::string::npos) return "not known";
    return text.substr(open + 1, close - open - 1);
}

}  // namespace sy::runtime
