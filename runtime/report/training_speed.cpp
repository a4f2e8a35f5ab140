#include <algorithm>
#include <cmath>

#include "kernels/core/error.hpp"
#include "runtime/report/markup.hpp"
#include "runtime/report/training_page.hpp"

namespace sy::runtime {
namespace {

/// Bars of a figure of time by phase over a run.
constexpr std::size_t kMostBars = 16;

/// The mean of one number of an array, of steps that have it; NaN without any.
template <std::size_t Size>
double mean_of(std::span<const TrainingStep> steps, std::array<double, Size> TrainingStep::*numbers,
               std::size_t which) {
    double sum = 0.0;
    double count = 0.0;
    for (const TrainingStep& step : steps) {
        if (!std::isfinite((step.*numbers)[which])) continue;
        sum += (step.*numbers)[which];
        count += 1.0;
    }
    return count > 0.0 ? sum / count : std::nan("");
}

/// A bar for each group of steps.
struct Group {
    std::string name;
    std::span<const TrainingStep> steps;
};

template <std::size_t Size>
BarPlot bars_of(std::span<const Group> groups, std::array<double, Size> TrainingStep::*numbers,
                const std::array<const char*, Size>& names) {
    BarPlot plot;
    plot.y_label = "seconds a step";
    for (const Group& group : groups) plot.bars.push_back(group.name);
    for (std::size_t part = 0; part < Size; ++part) {
        BarPart& bars = plot.parts.emplace_back();
        bars.name = names[part];
        for (const Group& group : groups) bars.values.push_back(mean_of(group.steps, numbers, part));
    }
    return plot;
}

std::vector<Group> runs_as_groups(std::span<const PageRow> rows) {
    std::vector<Group> groups;
    for (const PageRow& row : rows) {
        for (const RunStory& run : row.runs) groups.push_back({run.name, run.steps});
    }
    return groups;
}

/// Steps in order, in groups of the same size but for the last.
std::vector<Group> groups_over_time(const RunStory& run) {
    std::vector<Group> groups;
    const std::size_t size = std::max<std::size_t>(1, (run.steps.size() + kMostBars - 1) / kMostBars);
    for (std::size_t begin = 0; begin < run.steps.size(); begin += size) {
        const std::span<const TrainingStep> steps(run.steps);
        groups.push_back({fixed_text(run.steps[begin].step, 0),
                          steps.subspan(begin, std::min(size, run.steps.size() - begin))});
    }
    return groups;
}

bool crosses_network(const PageRow& row) {
    return std::ranges::any_of(row.runs, [](const RunStory& run) {
        return std::ranges::any_of(run.steps,
                                   [](const TrainingStep& step) { return step.network_bytes > 0.0; });
    });
}

/// Bytes that rows took over the network, and the fewest that could, in colours of their own.
LinePlot network_plot(std::span<const PageRow> rows) {
    LinePlot plot =
        step_plot(rows, {"Rows over the network",
                         "Bytes of dispatched and returned rows that went to other nodes, each step, "
                         "beside the fewest that could",
                         "bytes a step", &TrainingStep::network_bytes});
    LinePlot bound = step_plot(rows, {"", "", "", &TrainingStep::network_bound});
    for (Series& series : bound.series) {
        if (series.weight == Weight::faint) continue;
        series.name += ", fewest possible";
        series.colour = *series.colour + rows.size();
        plot.series.push_back(std::move(series));
    }
    return plot;
}

}  // namespace

void add_speed(Page& page, std::span<const PageRow> rows) {
    page.section("Speed");
    page.add(step_plot(rows, {"Throughput", "Tokens that the whole run trained on in a second, each step",
                              "tokens/s", &TrainingStep::tokens_per_s}));
    page.add(
        step_plot(rows, {"Exposed communication",
                         "Share of the step that rank 0 waited for messages, which computing did not hide",
                         "per cent of the step", &TrainingStep::waiting}));
    const std::vector<Group> runs = runs_as_groups(rows);
    BarPlot phases = bars_of(runs, &TrainingStep::phases, kPhaseNames);
    phases.title = "Time by phase";
    phases.description =
        "Mean seconds of a step of rank 0 by phase, a bar for each run; communication is waiting";
    phases.x_label = "run";
    page.add(phases);
    BarPlot exchange = bars_of(runs, &TrainingStep::exchange, kExchangeNames);
    exchange.title = "Time of the exchange";
    exchange.description =
        "Mean seconds of a step that rows and plans were under way, mean of all ranks: waited for, or "
        "hidden behind computing";
    exchange.x_label = "run";
    page.add(exchange);
    for (const PageRow& row : rows) {
        for (const RunStory& run : row.runs) {
            BarPlot over_time = bars_of(groups_over_time(run), &TrainingStep::phases, kPhaseNames);
            over_time.title = concat(run.name, ": time by phase over steps");
            over_time.description = "Mean seconds of a step of rank 0 by phase, a bar for each span of steps";
            over_time.x_label = "steps, each bar from";
            page.add(over_time);
        }
    }
    if (std::ranges::any_of(rows, crosses_network)) page.add(network_plot(rows));
    page.add(step_plot(rows, {"Memory", "Highest use of the arena of rank 0 so far", "bytes",
                              &TrainingStep::memory_bytes, "steps", &TrainingStep::step, 0}));
}

}  // namespace sy::runtime
