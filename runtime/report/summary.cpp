#include "runtime/report/summary.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "kernels/core/error.hpp"

namespace sy::runtime {
namespace {

constexpr double kNothing = std::numeric_limits<double>::quiet_NaN();
constexpr std::size_t kSpikeWindow = 32;
constexpr double kSpikeDeviations = 6.0;
constexpr double kSpikeShare = 0.05;

/// The lower median of an even number of values. @pre not empty
double median(std::vector<double> values) {
    const auto middle = values.begin() + static_cast<std::ptrdiff_t>((values.size() - 1) / 2);
    std::nth_element(values.begin(), middle, values.end());
    return *middle;
}

/// Above which a loss that follows these is a spike; none where too few of them are finite.
double spike_threshold(std::span<const double> before) {
    std::vector<double> finite;
    std::copy_if(before.begin(), before.end(), std::back_inserter(finite),
                 [](double loss) { return std::isfinite(loss); });
    if (finite.size() < kSpikeWindow / 2) return std::numeric_limits<double>::infinity();
    const double centre = median(finite);
    std::transform(finite.begin(), finite.end(), finite.begin(),
                   [centre](double loss) { return std::abs(loss - centre); });
    return centre + std::max(kSpikeDeviations * 1.4826 * median(finite), kSpikeShare * std::abs(centre));
}

/// Mean of what is a number; NaN without any.
double mean_of(std::span<const StepPoint> steps, double StepPoint::*number) {
    double sum = 0.0;
    double count = 0.0;
    for (const StepPoint& point : steps) {
        if (std::isnan(point.*number)) continue;
        sum += point.*number;
        count += 1.0;
    }
    return count > 0.0 ? sum / count : kNothing;
}

double largest_gradient(std::span<const StepPoint> steps) {
    double largest = kNothing;
    for (const StepPoint& point : steps) {
        if (!std::isfinite(point.gradient_norm)) return std::numeric_limits<double>::infinity();
        largest = std::fmax(largest, point.gradient_norm);
    }
    return largest;
}

}  // namespace

index_t count_spikes(std::span<const double> losses) {
    index_t count = 0;
    bool in_spike = false;
    for (std::size_t i = 0; i < losses.size(); ++i) {
        bool high = !std::isfinite(losses[i]);
        if (!high && i >= kSpikeWindow)
            high = losses[i] > spike_threshold(losses.subspan(i - kSpikeWindow, kSpikeWindow));
        if (high && !in_spike) ++count;
        in_spike = high;
    }
    return count;
}

RunSummary summarise(const RunHistory& history) {
    RunSummary summary;
    summary.finished = history.finished;
    summary.unread_lines = history.unread_lines;
    summary.final_bits = summary.best_bits = kNothing;
    if (!history.validations.empty()) summary.final_bits = history.validations.back().bits_per_byte;
    for (const ValidationPoint& point : history.validations)
        summary.best_bits = std::fmin(summary.best_bits, point.bits_per_byte);
    const std::span<const StepPoint> steps = history.steps;
    std::vector<double> losses;
    double tokens = 0.0;
    double seconds = 0.0;
    summary.largest_logsumexp = kNothing;
    for (const StepPoint& point : steps) {
        if (point.has_targets) losses.push_back(point.token_loss);
        tokens += static_cast<double>(point.tokens);
        seconds += point.seconds;
        summary.largest_logsumexp = std::fmax(summary.largest_logsumexp, point.logsumexp);
    }
    if (!steps.empty()) summary.steps = steps.back().step;
    const auto last_loss = std::find_if(steps.rbegin(), steps.rend(), std::mem_fn(&StepPoint::has_targets));
    summary.diverged = (last_loss != steps.rend() && !std::isfinite(last_loss->token_loss)) ||
                       (!history.validations.empty() && !std::isfinite(summary.final_bits));
    summary.tokens_per_s = seconds > 0.0 ? tokens / seconds : kNothing;
    summary.load = mean_of(steps.last(std::min(steps.size(), kLastSteps)), &StepPoint::load);
    // Every step has as many choices.
    summary.dropped = mean_of(steps, &StepPoint::dropped);
    summary.spikes = static_cast<double>(count_spikes(losses));
    summary.largest_gradient = largest_gradient(steps);
    return summary;
}

Statistic statistic(std::span<const double> values) {
    if (values.empty()) return {kNothing, kNothing};
    const auto count = static_cast<double>(values.size());
    double mean = 0.0;
    for (const double value : values) mean += value / count;
    if (values.size() == 1) return {mean, kNothing};
    double squares = 0.0;
    for (const double value : values) squares += (value - mean) * (value - mean);
    return {mean, std::sqrt(squares / (count - 1.0))};
}

Statistic RunRow::over_seeds(double RunSummary::*number) const {
    std::vector<double> values;
    for (const RunSummary& run : runs) values.push_back(run.*number);
    return statistic(values);
}

index_t RunRow::steps() const {
    index_t fewest = runs.empty() ? 0 : runs.front().steps;
    for (const RunSummary& run : runs) fewest = std::min(fewest, run.steps);
    return fewest;
}

bool RunRow::finished() const {
    return std::all_of(runs.begin(), runs.end(), [](const RunSummary& run) { return run.finished; });
}

bool RunRow::diverged() const {
    return std::any_of(runs.begin(), runs.end(), [](const RunSummary& run) { return run.diverged; });
}

index_t RunRow::unread_lines() const {
    index_t all = 0;
    for (const RunSummary& run : runs) all += run.unread_lines;
    return all;
}

RunRow read_row(const std::filesystem::path& folder) {
    namespace fs = std::filesystem;
    RunRow row;
    const fs::path plain = folder.lexically_normal();
    row.name = (plain.has_filename() ? plain : plain.parent_path()).filename().string();
    std::vector<fs::path> folders;
    if (fs::exists(folder / "metrics.jsonl")) {
        folders.push_back(folder);
    } else if (fs::is_directory(folder)) {
        for (const auto& entry : fs::directory_iterator(folder)) {
            if (fs::exists(entry.path() / "metrics.jsonl")) folders.push_back(entry.path());
        }
    }
    if (folders.empty()) {
        throw IoError(concat("report: neither ", folder.string(), " nor a folder in it has a metrics.jsonl",
                             "; give the run.directory of a run, or a folder of such"));
    }
    std::sort(folders.begin(), folders.end());
    for (const fs::path& run : folders) {
        row.histories.push_back(read_history(run));
        row.runs.push_back(summarise(row.histories.back()));
    }
    row.folders = std::move(folders);
    return row;
}

}  // namespace sy::runtime
