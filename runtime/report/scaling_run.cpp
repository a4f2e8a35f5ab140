#include "runtime/report/scaling_run.hpp"

#include <algorithm>
#include <chrono>
#include <ctime>
#include <fstream>
#include <iomanip>
#include <limits>
#include <map>
#include <numeric>
#include <span>
#include <sstream>

#include "kernels/core/error.hpp"
#include "runtime/report/scaling_statistics.hpp"

namespace sy::runtime {
namespace {

/// Loads are kept for so many stretches of the measured steps.
constexpr std::size_t kLoadSlices = 4;

/// The records of a run that count, each as JSON.
struct Records {
    Json run;
    std::map<index_t, Json> steps;
    Json end;
};

Records read_records(const std::filesystem::path& path) {
    std::ifstream file(path);
    if (!file) throw IoError(concat("scaling: cannot read ", path.string(), "; has the run begun?"));
    Records records;
    for (std::string line; std::getline(file, line);) {
        Json record = Json::parse(line);
        const std::string type = record.at("type").as_string();
        if (type == "run")
            records.run = std::move(record);
        else if (type == "step")
            records.steps[record.at("step").as_whole()] = std::move(record);
        else if (type == "end")
            records.end = std::move(record);
    }
    if (!records.run.is_object() || !records.end.is_object() || records.end.at("stopped_early").as_bool())
        throw IoError(concat("scaling: the run of ", path.string(), " did not reach its end"));
    return records;
}

/// A member of a member: "phases", "compute".
double number_at(const Json& record, std::initializer_list<std::string_view> path) {
    const Json* value = &record;
    for (const std::string_view name : path) value = &value->at(name);
    return value->is_null() ? std::numeric_limits<double>::quiet_NaN() : value->as_number();
}

/// The steps that count, and means over them.
class Steps {
  public:
    Steps(const Records& records, index_t warmup_steps, const std::filesystem::path& path) {
        for (const auto& [step, record] : records.steps) {
            if (step > warmup_steps) steps_.push_back(&record);
        }
        if (steps_.empty())
            throw IoError(concat("scaling: ", path.string(), " has no step after the ", warmup_steps,
                                 " that are left out"));
    }
    std::span<const Json* const> all() const { return steps_; }
    double mean(std::initializer_list<std::string_view> path) const {
        double sum = 0.0;
        for (const Json* step : steps_) sum += number_at(*step, path);
        return sum / static_cast<double>(steps_.size());
    }
    std::vector<double> values(std::string_view name) const {
        std::vector<double> values;
        for (const Json* step : steps_) values.push_back(number_at(*step, {name}));
        return values;
    }

  private:
    std::vector<const Json*> steps_;
};

std::map<std::string_view, double> time_numbers(const Steps& steps) {
    std::map<std::string_view, double> numbers;
    const std::vector<double> seconds = steps.values("seconds");
    const double mean_seconds = steps.mean({"seconds"});
    numbers["step_seconds"] = median(seconds);
    numbers["step_seconds_low"] = quantile(seconds, 0.25);
    numbers["step_seconds_high"] = quantile(seconds, 0.75);
    numbers["tokens_per_s"] = steps.mean({"tokens"}) / numbers["step_seconds"];
    numbers["flops_per_s"] = steps.mean({"flops_per_s"});
    double exchange = 0.0;
    for (const auto& [name, phase] :
         {std::pair("plan_seconds", "plan"), std::pair("dispatch_seconds", "dispatch"),
          std::pair("return_seconds", "return")})
        exchange += numbers[name] = steps.mean({"exchange_seconds", phase, "exposed"});
    for (const auto& [name, phase] :
         {std::pair("compute_seconds", "compute"), std::pair("optimizer_seconds", "optimizer"),
          std::pair("data_seconds", "data")})
        numbers[name] = steps.mean({"phases", phase});
    // The exchange is the mean of all ranks, the whole that of rank 0, which may have waited less.
    numbers["gradient_seconds"] = std::max(0.0, steps.mean({"phases", "communication"}) - exchange);
    const double named = exchange + numbers["gradient_seconds"] + numbers["compute_seconds"] +
                         numbers["optimizer_seconds"] + numbers["data_seconds"];
    numbers["other_seconds"] = std::max(0.0, mean_seconds - named);
    numbers["dispatch_total_seconds"] = steps.mean({"exchange_seconds", "dispatch", "total"});
    numbers["return_total_seconds"] = steps.mean({"exchange_seconds", "return", "total"});
    numbers["useful_mean_seconds"] = steps.mean({"useful_seconds", "mean"});
    numbers["useful_max_seconds"] = steps.mean({"useful_seconds", "max"});
    const PopEfficiencies pop =
        pop_efficiencies(numbers["useful_mean_seconds"], numbers["useful_max_seconds"], mean_seconds);
    numbers["parallel_efficiency"] = pop.parallel;
    numbers["load_balance"] = pop.load_balance;
    numbers["communication_efficiency"] = pop.communication;
    numbers["exposed_communication"] = 1.0 - pop.parallel;
    return numbers;
}

void add_traffic(std::map<std::string_view, double>& numbers, const Steps& steps) {
    for (const auto& [rows, bytes, level] :
         {std::tuple("rank_rows", "rank_bytes", "rank"), std::tuple("node_rows", "node_bytes", "node"),
          std::tuple("network_rows", "network_bytes", "network")}) {
        numbers[rows] = steps.mean({"traffic", level, "rows"});
        numbers[bytes] = steps.mean({"traffic", level, "bytes"});
    }
    numbers["network_bound_bytes"] = steps.mean({"traffic", "network_bound"});
    numbers["metadata_bytes"] = steps.mean({"traffic", "metadata"});
    // It counts from the beginning of the run.
    const Json& last = *steps.all().back();
    numbers["gradient_bytes"] = number_at(last, {"gradient_bytes_sent"}) / number_at(last, {"step"});
}

void add_loads(ScalingRun& run, std::map<std::string_view, double>& numbers, const Steps& steps) {
    const std::span<const Json* const> all = steps.all();
    for (const Json& layer : all.front()->at("layers").as_array())
        run.layers.push_back(layer.at("layer").as_whole());
    const std::size_t num_slices = run.layers.empty() ? 0 : std::min(kLoadSlices, all.size());
    double choices = 0.0;
    for (std::size_t slice = 0; slice < num_slices; ++slice) {
        const auto steps_of_slice =
            all.subspan(slice * all.size() / num_slices,
                        (slice + 1) * all.size() / num_slices - slice * all.size() / num_slices);
        LoadSlice sum{
            steps_of_slice.front()->at("step").as_whole(), steps_of_slice.back()->at("step").as_whole(), {}};
        for (const Json* step : steps_of_slice) {
            const Json::Array& layers = step->at("layers").as_array();
            sum.load.resize(layers.size());
            for (std::size_t layer = 0; layer < layers.size(); ++layer) {
                const Json::Array& loads = layers[layer].at("load").as_array();
                sum.load[layer].resize(loads.size());
                for (std::size_t expert = 0; expert < loads.size(); ++expert) {
                    sum.load[layer][expert] += loads[expert].as_whole();
                    choices += loads[expert].as_number();
                }
            }
        }
        run.loads.push_back(std::move(sum));
    }
    numbers["imbalance"] = steps.mean({"imbalance"});
    numbers["dropped"] =
        choices > 0.0 ? steps.mean({"dropped"}) * static_cast<double>(all.size()) / choices : 0.0;
}

/// Memory, hosts, and how evenly these are loaded.
void add_ranks(ScalingRun& run, std::map<std::string_view, double>& numbers, const Json& end) {
    struct Host {
        double useful_seconds = 0.0;
        double ranks = 0.0;
    };
    std::map<std::string, Host> hosts;
    for (const Json& rank : end.at("ranks").as_array()) {
        const std::string& name = rank.at("host").as_string();
        Host& host = hosts[name];
        if (host.ranks == 0.0) run.hosts.push_back(name);
        host.ranks += 1.0;
        host.useful_seconds += rank.at("useful_seconds").as_number();
        run.memory_bytes.push_back(rank.at("memory_bytes").as_whole());
    }
    SY_REQUIRE(!hosts.empty(), "scaling: the end of a run names no rank");
    double mean = 0.0;
    double most = 0.0;
    for (const auto& [name, host] : hosts) {
        mean += host.useful_seconds / host.ranks / static_cast<double>(hosts.size());
        most = std::max(most, host.useful_seconds / host.ranks);
    }
    numbers["node_load_balance"] = mean / most;
    numbers["memory_max_bytes"] = static_cast<double>(*std::ranges::max_element(run.memory_bytes));
    numbers["memory_mean_bytes"] = std::accumulate(run.memory_bytes.begin(), run.memory_bytes.end(), 0.0) /
                                   static_cast<double>(run.memory_bytes.size());
}

/// When a file was last written.
std::string time_of_change(const std::filesystem::path& path) {
    using namespace std::chrono;
    const auto time = file_clock::to_sys(std::filesystem::last_write_time(path));
    const std::time_t seconds = system_clock::to_time_t(time_point_cast<system_clock::duration>(time));
    std::tm utc{};
    ::gmtime_r(&seconds, &utc);
    std::ostringstream text;
    text << std::put_time(&utc, "%FT%TZ");
    return text.str();
}

}  // namespace

std::string ScalingTask::name() const {
    return concat(point, ".", repeat);
}

std::string ScalingTask::series() const {
    return concat(exchange, expert_parallel == 0 ? std::string(", experts over all ranks")
                                                 : concat(", experts over ", expert_parallel, " ranks"));
}

double ScalingRun::number(std::string_view name) const {
    const auto found =
        std::ranges::find(kScalingNumbers, name, [](const ScalingNumber& number) { return number.name; });
    SY_REQUIRE(found != kScalingNumbers.end(), "scaling: there is no number ", name);
    return numbers.at(static_cast<std::size_t>(found - kScalingNumbers.begin()));
}

ScalingRun measure_run(const std::filesystem::path& folder, const ScalingTask& task, index_t warmup_steps) {
    const std::filesystem::path path = folder / "metrics.jsonl";
    const Records records = read_records(path);
    const Steps steps(records, warmup_steps, path);
    ScalingRun run;
    run.task = task;
    run.version = records.run.at("version").as_string();
    run.isa = records.run.at("isa").as_string();
    run.layout = records.run.at("layout").as_string();
    run.threads = records.run.at("threads").as_whole();
    run.config = records.run.at("config");
    run.finished_at = time_of_change(path);
    run.warmup_steps = warmup_steps;
    run.measured_steps = std::ssize(steps.all());
    std::map<std::string_view, double> numbers = time_numbers(steps);
    add_traffic(numbers, steps);
    add_loads(run, numbers, steps);
    add_ranks(run, numbers, records.end);
    numbers["loss"] = number_at(*steps.all().back(), {"loss"});
    SY_REQUIRE(numbers.size() == kScalingNumbers.size(), "scaling: ", numbers.size(), " numbers of a run");
    for (const ScalingNumber& number : kScalingNumbers) run.numbers.push_back(numbers.at(number.name));
    return run;
}

}  // namespace sy::runtime
