#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "runtime/report/history.hpp"

namespace sy::runtime {

/// Steps at the end over which loads are averaged.
inline constexpr std::size_t kLastSteps = 100;

/// Numbers of one run; NaN where a run has nothing to say.
struct RunSummary {
    index_t steps = 0;  ///< the last one done
    bool finished = false;
    bool diverged = false;  ///< its last training loss or its last validation is not finite
    index_t unread_lines = 0;
    double final_bits = 0.0;  ///< bits per byte of the last validation
    double best_bits = 0.0;
    double tokens_per_s = 0.0;  ///< over the whole run, without validations
    double load = 0.0;          ///< highest over mean load of an expert, over the last kLastSteps
    double dropped = 0.0;       ///< share of all choices of the run
    double spikes = 0.0;
    double largest_gradient = 0.0;   ///< norm, before clipping; infinite when a step had none that was finite
    double largest_logsumexp = 0.0;  ///< of the routers' logits, root mean square of a step
};

RunSummary summarise(const RunHistory& history);

/// Times that the loss leaps: a loss that is not finite, or above the median of the 32 losses before it by six of their
/// robust standard deviations (1.4826 times the median distance from the median) and by 5 %. Steps in a row are one
/// spike; the first 32 steps have none unless they are not finite.
index_t count_spikes(std::span<const double> losses);

/// Mean over seeds, and how far seeds spread (sample standard deviation; NaN with one seed).
struct Statistic {
    double mean = 0.0;
    double deviation = 0.0;
};
Statistic statistic(std::span<const double> values);

/// Runs that differ only in their seed, under one name.
struct RunRow {
    std::string name;
    std::vector<RunHistory> histories;
    std::vector<RunSummary> runs;                     ///< of each history
    std::vector<std::filesystem::path> folders = {};  ///< of each history, where it was read

    /// The statistic of one number of the summaries.
    Statistic over_seeds(double RunSummary::*number) const;
    index_t steps() const;  ///< fewest of its runs
    bool finished() const;  ///< all of its runs
    bool diverged() const;  ///< any of its runs
    index_t unread_lines() const;
};

/// Reads a row: the run in `folder`, or one run from each of its folders that holds metrics.jsonl, by name.
/// @throws IoError when there is neither
RunRow read_row(const std::filesystem::path& folder);

}  // namespace sy::runtime
