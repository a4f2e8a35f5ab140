#pragma once

#include <span>
#include <string>
#include <vector>

/// How `switchyard doctor` presents what it found: pure functions.
namespace sy::runtime {

/// One line of the table, or several when the value has line breaks.
struct Finding {
    std::string name;
    std::string value;
    bool operator==(const Finding&) const = default;
};

/// Names in one column, values in the next; further lines of a value stand below its first.
std::string findings_text(std::span<const Finding> findings);

/// Ascending whole numbers, runs joined: "0-2 5 7 8".
std::string ranges_text(std::span<const int> numbers);

/// Where a rank runs.
struct RankPlace {
    int node = 0;  ///< as numbered by Topology
    std::string host;
    std::string processors;  ///< hardware threads it may run on: "0-1"
};

/// A line per node with its ranks, and below it a line for each set of ranks that share their processors.
/// @param places  by rank
std::string ranks_text(std::span<const RankPlace> places);

/// The choice in brackets of a Linux setting: "madvise" of "always [madvise] never"; "not known" when there is none.
std::string chosen_setting(const std::string& text);

}  // namespace sy::runtime
