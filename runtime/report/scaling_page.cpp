#include "runtime/report/scaling_page.hpp"

#include <cmath>
#include <limits>
#include <numeric>
#include <optional>

#include "kernels/core/error.hpp"
#include "runtime/report/markup.hpp"
#include "runtime/report/scaling_table.hpp"

namespace sy::runtime {
namespace {

constexpr double kNothing = std::numeric_limits<double>::quiet_NaN();
constexpr double kMebi = 1.0 / (1 << 20);

Axis nodes_axis() {
    return {"nodes", Scale::log2};
}

double nodes_of(const ScalingPoint& point) {
    return static_cast<double>(point.task().nodes);
}

void add_value(Series& line, double x, const Interval& value, double factor) {
    line.x.push_back(x);
    line.y.push_back(factor * value.mean);
    line.low.push_back(factor * (value.mean - value.half_width));
    line.high.push_back(factor * (value.mean + value.half_width));
}

/// A number of each point over nodes.
Series line_of(const std::string& name, const ScalingSeries& series, std::string_view number,
               double factor = 1.0) {
    Series line{.name = name, .x = {}, .y = {}};
    for (const ScalingPoint& point : series.points)
        add_value(line, nodes_of(point), point.number(number), factor);
    return line;
}

/// Beyond the last point, which it begins with; nothing where nothing is predicted so.
std::optional<Series> predicted_line(const ScalingSeries& series, std::string_view by, std::size_t colour) {
    Series line{.name = concat(series.name, ", by ", by), .x = {}, .y = {}};
    line.origin = Origin::predicted;
    line.colour = colour;
    add_value(line, nodes_of(series.points.back()),
              {series.points.back().number("tokens_per_s").mean, kNothing}, 1.0);
    for (const ScalingPrediction& prediction : series.predictions) {
        if (prediction.by == by)
            add_value(line, static_cast<double>(prediction.nodes),
                      {prediction.tokens_per_s, prediction.tokens_per_s * prediction.error}, 1.0);
    }
    return line.x.size() > 1 ? std::optional(line) : std::nullopt;
}

/// The same number of every series over nodes.
LinePlot plot_of(const std::string& title, const std::string& description, const std::string& label,
                 std::span<const ScalingSeries> series, std::string_view number, double factor = 1.0) {
    LinePlot plot{title, description, nodes_axis(), {.label = label, .low = 0.0}, {}};
    for (const ScalingSeries& one : series) plot.series.push_back(line_of(one.name, one, number, factor));
    return plot;
}

LinePlot throughput(std::span<const ScalingSeries> series) {
    LinePlot plot =
        plot_of("Tokens a second",
                "Means over repeats with their intervals. Dashed: predicted, with the largest error of a "
                "measured size that was left out of the fit. Ideal: the first point times the nodes.",
                "tokens/s", series, "tokens_per_s");
    plot.y.scale = Scale::log10;
    plot.y.low.reset();
    std::size_t colour = series.size();
    for (const ScalingSeries& one : series) {
        for (const char* by : {"model", "simulator"}) {
            if (const auto line = predicted_line(one, by, colour)) {
                plot.series.push_back(*line);
                ++colour;
            }
        }
    }
    const ScalingPoint& first = series.front().points.front();
    Series ideal{.name = "ideal", .x = {}, .y = {}};
    for (const double x : {nodes_of(first), nodes_of(series.front().points.back())}) {
        ideal.x.push_back(x);
        ideal.y.push_back(first.number("tokens_per_s").mean * x / nodes_of(first));
    }
    if (ideal.x.front() < ideal.x.back()) plot.series.push_back(ideal);
    return plot;
}

LinePlot efficiency(std::span<const ScalingSeries> series) {
    LinePlot plot{"Efficiency",
                  "Tokens/s of a rank over those of the fewest nodes of the series.",
                  nodes_axis(),
                  {.label = "%", .low = 0.0},
                  {}};
    for (const ScalingSeries& one : series) {
        Series line{.name = one.name, .x = {}, .y = {}};
        for (const ScalingPoint& point : one.points)
            add_value(line, nodes_of(point), one.efficiency(point), 100.0);
        plot.series.push_back(line);
    }
    return plot;
}

BarPlot phases(const ScalingSeries& series) {
    BarPlot plot{
        concat("A step, ", series.name),
        "Means of the measured steps. Plan, dispatch, return and gradient are communication that computing "
        "did not hide.",
        "ranks",
        "ms",
        {},
        {}};
    for (const ScalingPoint& point : series.points) plot.bars.push_back(concat(point.task().ranks));
    for (const char* name :
         {"compute", "plan", "dispatch", "return", "gradient", "optimizer", "data", "other"}) {
        BarPart part{name, {}};
        for (const ScalingPoint& point : series.points)
            part.values.push_back(1e3 * point.number(concat(name, "_seconds")).mean);
        plot.parts.push_back(std::move(part));
    }
    return plot;
}

LinePlot pop(const ScalingSeries& series) {
    LinePlot plot{
        concat("Efficiencies of POP, ", series.name),
        "Parallel efficiency, the share of a step in which ranks compute, is load balance (mean over "
        "maximum of the ranks) times communication efficiency (the busiest rank's share).",
        nodes_axis(),
        {.label = "%", .low = 0.0, .high = 100.0},
        {}};
    plot.series = {line_of("parallel", series, "parallel_efficiency", 100.0),
                   line_of("load balance", series, "load_balance", 100.0),
                   line_of("communication", series, "communication_efficiency", 100.0)};
    return plot;
}

LinePlot traffic(const ScalingSeries& series) {
    LinePlot plot{
        concat("Bytes of a step, ", series.name),
        "Rows of all ranks. The bound is one row for each token and other node that has experts of it, each "
        "way. Gradients are those that rank 0 sends.",
        nodes_axis(),
        {.label = "MiB", .low = 0.0},
        {}};
    plot.series = {line_of("in nodes", series, "node_bytes", kMebi),
                   line_of("between nodes", series, "network_bytes", kMebi),
                   line_of("bound between nodes", series, "network_bound_bytes", kMebi),
                   line_of("gradients of a rank", series, "gradient_bytes", kMebi)};
    return plot;
}

/// The load of each expert over the mean of its layer.
HeatMap loads(const ScalingRun& run, const LoadSlice& slice) {
    HeatMap map{
        concat("Load of experts, steps ", slice.first_step, " to ", slice.last_step),
        concat("Choices of each expert before drops, over the mean of its layer; ", run.task.name(), "."),
        "expert",
        "layer",
        {},
        {},
        {},
        {.label = "over the mean", .low = 0.0},
        Colours::sequential};
    for (std::size_t expert = 0; expert < slice.load.at(0).size(); ++expert)
        map.columns.push_back(concat(expert));
    for (std::size_t layer = 0; layer < slice.load.size(); ++layer) {
        const std::vector<index_t>& load = slice.load[layer];
        if (load.size() != map.columns.size()) continue;
        map.rows.push_back(concat(run.layers.at(layer)));
        const double mean = std::accumulate(load.begin(), load.end(), 0.0) / static_cast<double>(load.size());
        for (const index_t choices : load)
            map.values.push_back(mean > 0.0 ? static_cast<double>(choices) / mean : kNothing);
    }
    return map;
}

std::string text_of(const Interval& value, double factor) {
    const std::string text = short_number(factor * value.mean);
    return std::isfinite(value.half_width) ? concat(text, " ± ", short_number(factor * value.half_width))
                                           : text;
}

Table points_table(std::span<const ScalingSeries> series) {
    Table table{"Points, means over repeats ± half the width of their 95 % interval",
                {"series", "nodes", "ranks", "batch", "repeats", "ms a step", "tokens/s", "efficiency %",
                 "load balance %", "communication %", "exposed %", "network of bound", "imbalance",
                 "dropped %", "MiB a rank"},
                {}};
    for (const ScalingSeries& one : series) {
        for (const ScalingPoint& point : one.points) {
            const double bound = point.number("network_bound_bytes").mean;
            table.rows.push_back(
                {one.name, concat(point.task().nodes), concat(point.task().ranks),
                 concat(point.task().global_batch), concat(point.runs.size()),
                 text_of(point.number("step_seconds"), 1e3), text_of(point.number("tokens_per_s"), 1.0),
                 text_of(one.efficiency(point), 100.0), text_of(point.number("load_balance"), 100.0),
                 text_of(point.number("communication_efficiency"), 100.0),
                 text_of(point.number("exposed_communication"), 100.0),
                 bound > 0.0 ? short_number(point.number("network_bytes").mean / bound) : "-",
                 text_of(point.number("imbalance"), 1.0), text_of(point.number("dropped"), 100.0),
                 short_number(kMebi * point.number("memory_max_bytes").mean)});
        }
    }
    return table;
}

void add_predictions(Page& page, std::span<const ScalingSeries> series) {
    Table table{"Predicted, not measured",
                {"series", "by", "nodes", "ranks", "ms a step", "tokens/s", "error %"},
                {}};
    for (const ScalingSeries& one : series) {
        for (const ScalingPrediction& prediction : one.predictions)
            table.rows.push_back({one.name, prediction.by, concat(prediction.nodes), concat(prediction.ranks),
                                  short_number(1e3 * prediction.step_seconds),
                                  short_number(prediction.tokens_per_s),
                                  short_number(100.0 * prediction.error)});
    }
    if (table.rows.empty()) return;
    page.section("Predictions");
    page.paragraph(
        "By model: seconds of a step on p ranks, fitted by least squares: a constant and one term p^i "
        "log2(p)^j, or a/p "
        "and log2(p). Of these the one is taken that best predicts each measured size from the others; the "
        "largest "
        "error in that is given here. By simulator: a step grows as a mixture layer does in switchyard-sim; "
        "the error "
        "is the largest of a measured size that is predicted from the one before it. Both say how well what "
        "was "
        "measured is met, not what a larger network will do.");
    for (const ScalingSeries& one : series) {
        if (one.model) page.paragraph(concat(one.name, ": seconds = ", one.model->text()));
    }
    page.table(table);
}

Table runs_table(const ScalingStudy& study) {
    Table table{"Runs",
                {"run", "layout", "hosts", "threads", "instructions", "version", "finished", "steps",
                 "ms a step", "quartiles", "loss"},
                {}};
    for (const ScalingRun& run : study.runs) {
        std::string hosts;
        for (const std::string& host : run.hosts) hosts += concat(hosts.empty() ? "" : " ", host);
        table.rows.push_back({run.task.name(), run.layout, hosts, concat(run.threads), run.isa, run.version,
                              run.finished_at, concat(run.measured_steps),
                              short_number(1e3 * run.number("step_seconds")),
                              concat(short_number(1e3 * run.number("step_seconds_low")), " to ",
                                     short_number(1e3 * run.number("step_seconds_high"))),
                              short_number(run.number("loss"))});
    }
    return table;
}

}  // namespace

Page scaling_page(const ScalingStudy& study, std::span<const ScalingSeries> series) {
    Page page(study.kind == ScalingKind::strong ? "Strong scaling" : "Weak scaling");
    page.paragraph(study.kind == ScalingKind::strong ? "The same global batch on growing numbers of nodes."
                                                     : "A global batch that grows with the number of ranks.");
    for (const std::string& remark : scaling_remarks(study, series)) page.paragraph(remark);
    page.table(points_table(series));
    page.section("Throughput");
    page.add(throughput(series));
    page.add(efficiency(series));
    page.section("Where the time goes");
    for (const ScalingSeries& one : series) page.add(phases(one));
    for (const ScalingSeries& one : series) page.add(pop(one));
    page.add(plot_of("Exposed communication", "Share of a step in which ranks wait, mean of ranks.", "%",
                     series, "exposed_communication", 100.0));
    page.section("Traffic");
    for (const ScalingSeries& one : series) page.add(traffic(one));
    const ScalingRun& largest = series.front().points.back().runs.front();
    if (!largest.loads.empty()) {
        page.section("Experts");
        page.add(plot_of("Imbalance", "Highest load of an expert over the mean, worst layer.",
                         "over the mean", series, "imbalance"));
        page.add(plot_of("Dropped choices", "Share of all choices.", "%", series, "dropped", 100.0));
        for (const LoadSlice& slice : largest.loads) page.add(loads(largest, slice));
    }
    page.section("Memory");
    page.add(plot_of("Memory of a rank", "Highest use of the arena, of the rank that has most.", "MiB",
                     series, "memory_max_bytes", kMebi));
    add_predictions(page, series);
    page.section("Runs");
    page.begin_fold("Each run with its hosts");
    page.table(runs_table(study));
    page.end_fold();
    return page;
}

}  // namespace sy::runtime
