#include "runtime/report/scaling_export.hpp"

#include <array>
#include <charconv>
#include <cmath>
#include <fstream>
#include <ostream>

#include "kernels/core/error.hpp"

namespace sy::runtime {
namespace {

/// The shortest text that reads back as the same number; empty for none.
std::string plain(double value) {
    if (!std::isfinite(value)) return {};
    std::array<char, 32> text{};
    const auto [end, error] = std::to_chars(text.data(), text.data() + text.size(), value);
    SY_REQUIRE(error == std::errc{}, "a number of ", text.size(), " characters");
    return {text.data(), end};
}

/// A file that is written as a whole, or an error.
class File {
  public:
    explicit File(const std::filesystem::path& path) : path_(path), file_(path, std::ios::trunc) {}
    template <class... Parts>
    void line(const Parts&... parts) {
        file_ << concat(parts...) << "\n";
    }
    void close() {
        file_.close();
        if (!file_) throw IoError(concat("scaling: cannot write ", path_.string()));
    }

  private:
    std::filesystem::path path_;
    std::ofstream file_;
};

void make_folder(const std::filesystem::path& folder) {
    std::error_code failure;
    std::filesystem::create_directories(folder, failure);
    if (failure) throw IoError(concat("scaling: cannot create ", folder.string(), ": ", failure.message()));
}

/// A series as the name of a file.
std::string file_name(const ScalingSeries& series) {
    const ScalingTask& task = series.points.front().task();
    return concat(task.exchange, "-ep", task.expert_parallel);
}

constexpr std::string_view kTaskHead = "point,nodes,ranks,expert_parallel,exchange,global_batch";
std::string task_cells(const ScalingTask& task) {
    return concat(task.point, ",", task.nodes, ",", task.ranks, ",", task.expert_parallel, ",", task.exchange,
                  ",", task.global_batch);
}

void write_points(const std::filesystem::path& path, const ScalingStudy& study,
                  std::span<const ScalingSeries> series) {
    File file(path);
    std::string head = concat("kind,", kTaskHead, ",repeats,efficiency,efficiency_ci95");
    for (const ScalingNumber& number : kScalingNumbers)
        head += concat(",", number.name, ",", number.name, "_ci95");
    file.line(head);
    for (const ScalingSeries& one : series) {
        for (const ScalingPoint& point : one.points) {
            const Interval efficiency = one.efficiency(point);
            std::string row =
                concat(scaling_kind_name(study.kind), ",", task_cells(point.task()), ",", point.runs.size(),
                       ",", plain(efficiency.mean), ",", plain(efficiency.half_width));
            for (const ScalingNumber& number : kScalingNumbers) {
                const Interval value = point.number(number.name);
                row += concat(",", plain(value.mean), ",", plain(value.half_width));
            }
            file.line(row);
        }
    }
    file.close();
}

void write_runs(const std::filesystem::path& path, const ScalingStudy& study) {
    File file(path);
    std::string head = concat(kTaskHead, ",repeat,hosts,threads,isa,version,measured_steps");
    for (const ScalingNumber& number : kScalingNumbers) head += concat(",", number.name);
    file.line(head);
    for (const ScalingRun& run : study.runs) {
        std::string row = concat(task_cells(run.task), ",", run.task.repeat, ",", run.hosts.size(), ",",
                                 run.threads, ",", run.isa, ",", run.version, ",", run.measured_steps);
        for (const double number : run.numbers) row += concat(",", plain(number));
        file.line(row);
    }
    file.close();
}

void write_predictions(const std::filesystem::path& path, std::span<const ScalingSeries> series) {
    File file(path);
    file.line("exchange,expert_parallel,nodes,ranks,by,step_seconds,tokens_per_s,held_out_error");
    for (const ScalingSeries& one : series) {
        const ScalingTask& task = one.points.front().task();
        for (const ScalingPrediction& prediction : one.predictions)
            file.line(task.exchange, ",", task.expert_parallel, ",", prediction.nodes, ",", prediction.ranks,
                      ",", prediction.by, ",", plain(prediction.step_seconds), ",",
                      plain(prediction.tokens_per_s), ",", plain(prediction.error));
    }
    file.close();
}

void write_extrap(const std::filesystem::path& path, const ScalingSeries& series) {
    File file(path);
    for (const ScalingPoint& point : series.points) {
        for (const ScalingRun& run : point.runs) {
            const auto add = [&](const std::string& callpath, std::string_view number) {
                file.line(Json(Json::Object{{"params", Json::Object{{"p", run.task.ranks}}},
                                            {"callpath", callpath},
                                            {"metric", "time"},
                                            {"value", run.number(number)}})
                              .text());
            };
            add("step", "step_seconds");
            for (const char* phase :
                 {"compute", "plan", "dispatch", "return", "gradient", "optimizer", "data", "other"})
                add(concat("step->", phase), concat(phase, "_seconds"));
        }
    }
    file.close();
}

/// In the format of DLB 3.6, in nanoseconds.
void write_talp(const std::filesystem::path& path, const ScalingRun& run) {
    const auto steps = static_cast<double>(run.measured_steps);
    const auto ranks = static_cast<double>(run.task.ranks);
    const double elapsed = run.number("useful_mean_seconds") / run.number("parallel_efficiency") * steps;
    const double useful = run.number("useful_mean_seconds") * steps * ranks;
    const auto nanoseconds = [](double seconds) { return static_cast<index_t>(std::llround(1e9 * seconds)); };
    const auto num_hosts = static_cast<index_t>(run.hosts.size());
    const Json region =
        Json::Object{{"numCpus", run.task.ranks},
                     {"numNodes", num_hosts},
                     {"avgCpus", ranks},
                     {"cycles", 0.0},
                     {"instructions", 0.0},
                     {"numMeasurements", run.measured_steps},
                     {"elapsedTime", nanoseconds(elapsed)},
                     {"usefulTime", nanoseconds(useful)},
                     {"mpiTime", nanoseconds(elapsed * ranks - useful)},
                     {"parallelEfficiency", run.number("parallel_efficiency")},
                     {"mpiParallelEfficiency", run.number("parallel_efficiency")},
                     {"mpiCommunicationEfficiency", run.number("communication_efficiency")},
                     {"mpiLoadBalance", run.number("load_balance")},
                     {"mpiLoadBalanceIn", run.number("load_balance") / run.number("node_load_balance")},
                     {"mpiLoadBalanceOut", run.number("node_load_balance")}};
    File file(path);
    file.line(Json(Json::Object{{"dlbVersion", "3.6.0"},
                                {"timestamp", run.finished_at},
                                {"resources", Json::Object{{"numCpus", run.task.ranks},
                                                           {"numNodes", num_hosts},
                                                           {"numMpiRanks", run.task.ranks},
                                                           {"numGpus", 0}}},
                                {"Application", Json::Object{{"Global", region}}}})
                  .text());
    file.close();
}

}  // namespace

void print_lines(std::ostream& out, std::span<const ScalingSeries> series) {
    const auto print = [&](const std::string& name, const Interval& value, std::string_view unit) {
        if (std::isfinite(value.mean)) out << name << " " << plain(value.mean) << " " << unit << "\n";
        if (std::isfinite(value.half_width))
            out << name << ".ci95 " << plain(value.half_width) << " " << unit << "\n";
    };
    for (const ScalingSeries& one : series) {
        for (const ScalingPoint& point : one.points) {
            print(point.task().point + ".efficiency", one.efficiency(point), "1");
            for (const ScalingNumber& number : kScalingNumbers)
                print(concat(point.task().point, ".", number.name), point.number(number.name), number.unit);
        }
    }
}

void write_scaling_files(const std::filesystem::path& folder, const ScalingStudy& study,
                         std::span<const ScalingSeries> series) {
    File results(folder / "results.jsonl");
    for (const ScalingRun& run : study.runs) results.line(to_line(run));
    results.close();
    write_points(folder / "points.csv", study, series);
    write_runs(folder / "runs.csv", study);
    write_predictions(folder / "predictions.csv", series);
    make_folder(folder / "extrap");
    for (const ScalingSeries& one : series) {
        write_extrap(folder / "extrap" / (file_name(one) + ".jsonl"), one);
        make_folder(folder / "talp" / file_name(one));
        for (const ScalingPoint& point : one.points) {
            for (const ScalingRun& run : point.runs)
                write_talp(folder / "talp" / file_name(one) / (run.task.name() + ".json"), run);
        }
    }
}

}  // namespace sy::runtime
