#include "runtime/report/scaling_study.hpp"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <sstream>

#include "kernels/core/error.hpp"

namespace sy::runtime {
namespace {

std::vector<std::string> read_lines(const std::filesystem::path& path) {
    std::ifstream file(path);
    if (!file) throw IoError(concat("scaling: cannot read ", path.string(), "; give the folder of a study"));
    std::vector<std::string> lines;
    for (std::string line; std::getline(file, line);) lines.push_back(line);
    return lines;
}

/// Lines "key value" of folder/study; of keys that are there more than once, the last.
std::map<std::string, std::string> read_settings(const std::filesystem::path& folder) {
    std::map<std::string, std::string> settings;
    for (const std::string& line : read_lines(folder / "study")) {
        const std::size_t blank = line.find(' ');
        if (blank != std::string::npos) settings[line.substr(0, blank)] = line.substr(blank + 1);
    }
    for (const char* key : {"kind", "warmup"}) {
        if (!settings.contains(key))
            throw IoError(concat("scaling: ", (folder / "study").string(), " does not say ", key));
    }
    return settings;
}

ScalingTask read_task(const std::string& line, const std::filesystem::path& path) {
    std::istringstream cells(line);
    ScalingTask task;
    cells >> task.number >> task.point >> task.repeat >> task.nodes >> task.ranks >> task.expert_parallel >>
        task.exchange >> task.global_batch;
    if (!cells || task.number < 1 || task.nodes < 1 || task.ranks < task.nodes)
        throw IoError(concat("scaling: ", path.string(), " has a line that is no task: ", line));
    return task;
}

std::optional<ScalingRun> read_result(const std::filesystem::path& path, const ScalingTask& task) {
    std::ifstream file(path);
    std::string line;
    if (!file || !std::getline(file, line)) return std::nullopt;
    try {
        ScalingRun run = scaling_run_from_line(line);
        if (run.task.name() == task.name()) return run;
    } catch (const IoError&) {
        // A line that is damaged is one that is not there: the task is run again.
    }
    return std::nullopt;
}

/// Tokens of a step on `factor` times the most nodes.
double predicted_tokens(const ScalingSeries& series, ScalingKind kind, double factor) {
    const ScalingPoint& largest = series.points.back();
    const double tokens = largest.number("tokens_per_s").mean * largest.number("step_seconds").mean;
    return kind == ScalingKind::weak ? tokens * factor : tokens;
}

void predict_by_model(ScalingSeries& series, ScalingKind kind) {
    const ScalingTask& largest = series.points.back().task();
    std::vector<ScalingSample> samples;
    for (const ScalingPoint& point : series.points)
        samples.push_back({static_cast<double>(point.task().ranks), point.number("step_seconds").mean});
    series.model = fit_scaling(samples, static_cast<double>(kPredictedFactors.back() * largest.ranks));
    if (!series.model) return;
    for (const index_t factor : kPredictedFactors) {
        const double seconds = series.model->at(static_cast<double>(factor * largest.ranks));
        series.predictions.push_back({"model", factor * largest.nodes, factor * largest.ranks, seconds,
                                      predicted_tokens(series, kind, static_cast<double>(factor)) / seconds,
                                      series.model->held_out_error});
    }
}

/// The seconds of a simulated layer on so many ranks; nothing where it was not simulated.
std::optional<double> layer_seconds(std::span<const SimulatedLayer> layers, index_t ranks) {
    const auto layer = std::ranges::find(layers, ranks, &SimulatedLayer::ranks);
    return layer == layers.end() ? std::nullopt : std::optional(layer->seconds);
}

/// A step grows as the simulated layer does. How far that holds: each measured size, predicted from the one before it.
void predict_by_simulator(ScalingSeries& series, ScalingKind kind, std::span<const SimulatedLayer> layers) {
    double error = 0.0;
    for (std::size_t i = 0; i < series.points.size(); ++i) {
        if (!layer_seconds(layers, series.points[i].task().ranks)) return;
        if (i == 0) continue;
        const double before = *layer_seconds(layers, series.points[i - 1].task().ranks);
        const double predicted = series.points[i - 1].number("step_seconds").mean *
                                 *layer_seconds(layers, series.points[i].task().ranks) / before;
        error = std::max(error, std::abs(predicted / series.points[i].number("step_seconds").mean - 1.0));
    }
    const ScalingPoint& largest = series.points.back();
    const double measured = *layer_seconds(layers, largest.task().ranks);
    for (const SimulatedLayer& layer : layers) {
        if (layer.ranks <= largest.task().ranks) continue;
        const double seconds = largest.number("step_seconds").mean * layer.seconds / measured;
        const double factor = static_cast<double>(layer.ranks) / static_cast<double>(largest.task().ranks);
        series.predictions.push_back({"simulator", layer.nodes, layer.ranks, seconds,
                                      predicted_tokens(series, kind, factor) / seconds, error});
    }
}

/// Lines of simulated.tsv: exchange, expert_parallel, nodes, ranks, seconds of a layer.
void read_simulated(ScalingStudy& study, const std::filesystem::path& path) {
    for (const std::string& line : read_lines(path)) {
        std::istringstream cells(line);
        ScalingTask task;
        SimulatedLayer layer;
        cells >> task.exchange >> task.expert_parallel >> layer.nodes >> layer.ranks >> layer.seconds;
        if (!cells || !(layer.seconds > 0.0))
            throw IoError(concat("scaling: ", path.string(), " has a line that is no simulated layer: ", line,
                                 "; run jobs/scaling/study simulate again"));
        study.simulated[task.series()].push_back(layer);
    }
    for (auto& [series, layers] : study.simulated) std::ranges::sort(layers, {}, &SimulatedLayer::ranks);
}

}  // namespace

std::string_view scaling_kind_name(ScalingKind kind) {
    return kind == ScalingKind::strong ? "strong" : "weak";
}

ScalingStudy read_scaling_study(const std::filesystem::path& folder) {
    const std::map<std::string, std::string> settings = read_settings(folder);
    ScalingStudy study;
    study.kind = settings.at("kind") == "weak" ? ScalingKind::weak : ScalingKind::strong;
    std::istringstream(settings.at("warmup")) >> study.warmup_steps;
    const std::filesystem::path points = folder / "points.tsv";
    const std::vector<std::string> lines = read_lines(points);
    for (std::size_t i = 1; i < lines.size(); ++i) study.tasks.push_back(read_task(lines[i], points));
    for (const ScalingTask& task : study.tasks) {
        if (std::optional<ScalingRun> run = read_result(folder / "results" / (task.name() + ".json"), task)) {
            study.runs.push_back(std::move(*run));
        } else {
            study.missing.push_back(task);
        }
    }
    if (std::filesystem::exists(folder / "left_out")) study.left_out = read_lines(folder / "left_out");
    if (std::filesystem::exists(folder / "simulated.tsv")) read_simulated(study, folder / "simulated.tsv");
    return study;
}

Interval ScalingPoint::number(std::string_view name) const {
    std::vector<double> values;
    for (const ScalingRun& run : runs) values.push_back(run.number(name));
    return mean_interval(values);
}

Interval ScalingSeries::efficiency(const ScalingPoint& point) const {
    const ScalingPoint& first = points.front();
    Interval base = first.number("tokens_per_s");
    Interval value = point.number("tokens_per_s");
    if (&point == &first) return {1.0, 0.0};
    const double growth = static_cast<double>(point.task().ranks) / static_cast<double>(first.task().ranks);
    value.mean /= growth;
    value.half_width /= growth;
    return quotient(value, base);
}

std::vector<ScalingSeries> scaling_series(const ScalingStudy& study) {
    std::vector<ScalingSeries> all;
    for (const ScalingRun& run : study.runs) {
        auto series = std::ranges::find(all, run.task.series(), &ScalingSeries::name);
        if (series == all.end()) series = all.insert(all.end(), ScalingSeries{run.task.series(), {}, {}, {}});
        auto point = std::ranges::find(series->points, run.task.point,
                                       [](const ScalingPoint& other) { return other.task().point; });
        if (point == series->points.end()) {
            series->points.push_back({{run}});
        } else {
            point->runs.push_back(run);
        }
    }
    for (ScalingSeries& series : all) {
        std::ranges::sort(series.points, {}, [](const ScalingPoint& point) { return point.task().ranks; });
        predict_by_model(series, study.kind);
        const auto simulated = study.simulated.find(series.name);
        if (simulated != study.simulated.end()) predict_by_simulator(series, study.kind, simulated->second);
    }
    return all;
}

}  // namespace sy::runtime
