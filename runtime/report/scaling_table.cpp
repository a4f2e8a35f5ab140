#include "runtime/report/scaling_table.hpp"

#include <algorithm>
#include <cmath>
#include <iomanip>
#include <ostream>
#include <set>
#include <sstream>

#include "kernels/core/error.hpp"

namespace sy::runtime {
namespace {

std::string fixed(double value, int precision) {
    if (!std::isfinite(value)) return "-";
    std::ostringstream text;
    text << std::fixed << std::setprecision(precision) << value;
    return text.str();
}

std::string with_interval(const Interval& value, int precision, double factor = 1.0) {
    std::string text = fixed(factor * value.mean, precision);
    if (std::isfinite(value.half_width)) text += concat(" +-", fixed(factor * value.half_width, precision));
    return text;
}

std::string percent(double share) {
    return fixed(100.0 * share, 0) + " %";
}

void print_row(std::ostream& out, const std::vector<std::string>& cells) {
    constexpr std::array kWidths{6, 6, 8, 20, 14, 22, 13, 14, 14};
    for (std::size_t i = 0; i < cells.size(); ++i) out << std::setw(kWidths.at(i)) << cells[i];
    out << "\n";
}

/// Losses of the last step are the same on every layout, to float32 rounding; where they differ by more, something else
/// than the layout has changed.
constexpr double kSameLoss = 1e-3;

bool losses_differ(const ScalingStudy& study) {
    double least = study.runs.front().number("loss");
    double most = least;
    for (const ScalingRun& run : study.runs) {
        least = std::min(least, run.number("loss"));
        most = std::max(most, run.number("loss"));
    }
    return most - least > kSameLoss * std::abs(most);
}

}  // namespace

void print_scaling_tables(std::ostream& out, const ScalingStudy& study,
                          std::span<const ScalingSeries> series) {
    for (const ScalingSeries& one : series) {
        out << scaling_kind_name(study.kind) << " scaling, " << one.name << "\n";
        print_row(out, {"nodes", "ranks", "repeats", "ms a step", "", "tokens/s", "efficiency",
                        "load balance", "communication"});
        for (const ScalingPoint& point : one.points) {
            print_row(out, {concat(point.task().nodes), concat(point.task().ranks), concat(point.runs.size()),
                            with_interval(point.number("step_seconds"), 2, 1e3), "",
                            with_interval(point.number("tokens_per_s"), 0),
                            percent(one.efficiency(point).mean), percent(point.number("load_balance").mean),
                            percent(point.number("communication_efficiency").mean)});
        }
        for (const ScalingPrediction& prediction : one.predictions) {
            const double error = prediction.error;
            print_row(out, {concat(prediction.nodes), concat(prediction.ranks), "",
                            with_interval({prediction.step_seconds, prediction.step_seconds * error}, 2, 1e3),
                            "by " + prediction.by,
                            with_interval({prediction.tokens_per_s, prediction.tokens_per_s * error}, 0)});
        }
        if (one.model) {
            out << "predicted by the model: seconds = " << one.model->text()
                << " on p ranks; +- is the largest error, " << percent(one.model->held_out_error)
                << ", of a measured size that is left out of the fit\n";
        }
    }
    for (const std::string& remark : scaling_remarks(study, series)) out << remark << "\n";
}

std::vector<std::string> scaling_remarks(const ScalingStudy& study, std::span<const ScalingSeries> series) {
    std::vector<std::string> remarks;
    if (!study.missing.empty()) {
        std::string names;
        for (const ScalingTask& task : study.missing) names += concat(names.empty() ? "" : ", ", task.name());
        remarks.push_back(concat("Not measured yet: ", names, "."));
    }
    for (const std::string& point : study.left_out) remarks.push_back(concat("Cannot run: ", point));
    if (study.runs.empty()) return remarks;
    if (std::ranges::any_of(study.runs, [&](const ScalingRun& run) {
            return static_cast<index_t>(run.hosts.size()) < run.task.nodes;
        }))
        remarks.emplace_back(
            "Some points ran on fewer hosts than they have nodes, whose ranks share processors and memory: "
            "their "
            "efficiency says nothing about a network or about processors of their own.");
    std::set<std::string> versions;
    for (const ScalingRun& run : study.runs) versions.insert(concat(run.version, " with ", run.isa));
    if (versions.size() > 1) {
        std::string names;
        for (const std::string& version : versions) names += concat(names.empty() ? "" : ", ", version);
        remarks.push_back(concat("Runs are of different versions or instruction sets: ", names, "."));
    }
    const auto fewest = [](const ScalingSeries& one) {
        return std::ranges::min(one.points, {}, [](const ScalingPoint& point) { return point.runs.size(); })
            .runs.size();
    };
    remarks.push_back(std::ranges::any_of(series, [&](const ScalingSeries& one) { return fewest(one) < 2; })
                          ? "A point with one repeat has no interval."
                          : "Intervals hold the mean over repeats with 95 % confidence, by Student's t.");
    if (study.kind == ScalingKind::strong && losses_differ(study))
        remarks.emplace_back(
            "Losses of the last step differ by more than rounding between runs, though all had the same "
            "batch: "
            "does a setting depend on the layout (moe.capacity_scope = local)?");
    if (std::ranges::any_of(series, [](const ScalingSeries& one) { return !one.model; }))
        remarks.push_back(concat("Where nothing is predicted there are fewer than ", kLeastSizes,
                                 " numbers of nodes, or every model is off by more than ",
                                 percent(kLargestHeldOutError), " for a size that it was not fitted to."));
    return remarks;
}

}  // namespace sy::runtime
