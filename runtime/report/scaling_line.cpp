#include <cmath>
#include <iomanip>
#include <limits>
#include <sstream>

#include "kernels/core/error.hpp"
#include "runtime/checkpoint/files.hpp"
#include "runtime/report/scaling_run.hpp"

namespace sy::runtime {
namespace {

constexpr std::string_view kChecksum = ",\"xxh3\":\"";

/// A checksum of the text of a line before its last member.
std::string checksum(std::string_view text) {
    std::ostringstream hex;
    hex << std::hex << std::setw(16) << std::setfill('0')
        << detail::block_checksum(std::as_bytes(std::span(text)), 0);
    return hex.str();
}

Json to_json(const ScalingTask& task) {
    return Json::Object{{"task", task.number},       {"point", task.point},
                        {"repeat", task.repeat},     {"nodes", task.nodes},
                        {"ranks", task.ranks},       {"expert_parallel", task.expert_parallel},
                        {"exchange", task.exchange}, {"global_batch", task.global_batch}};
}

ScalingTask task_from(const Json& json) {
    return {json.at("task").as_whole(),      json.at("point").as_string(),
            json.at("repeat").as_whole(),    json.at("nodes").as_whole(),
            json.at("ranks").as_whole(),     json.at("expert_parallel").as_whole(),
            json.at("exchange").as_string(), json.at("global_batch").as_whole()};
}

Json to_json(const LoadSlice& slice) {
    Json::Array layers;
    for (const std::vector<index_t>& load : slice.load) layers.emplace_back(json_array(load));
    return Json::Object{
        {"first_step", slice.first_step}, {"last_step", slice.last_step}, {"load", std::move(layers)}};
}

std::vector<index_t> whole_numbers(const Json& array) {
    std::vector<index_t> values;
    for (const Json& value : array.as_array()) values.push_back(value.as_whole());
    return values;
}

LoadSlice slice_from(const Json& json) {
    LoadSlice slice{json.at("first_step").as_whole(), json.at("last_step").as_whole(), {}};
    for (const Json& layer : json.at("load").as_array()) slice.load.push_back(whole_numbers(layer));
    return slice;
}

/// A number that JSON has no word for is null.
Json value_of(double number) {
    return std::isfinite(number) ? Json(number) : Json(nullptr);
}

}  // namespace

std::string to_line(const ScalingRun& run) {
    Json numbers = Json::Object{};
    for (std::size_t i = 0; i < kScalingNumbers.size(); ++i)
        numbers[kScalingNumbers[i].name] = value_of(run.numbers.at(i));
    Json::Array loads;
    for (const LoadSlice& slice : run.loads) loads.push_back(to_json(slice));
    std::string text = Json(Json::Object{{"task", to_json(run.task)},
                                         {"version", run.version},
                                         {"isa", run.isa},
                                         {"layout", run.layout},
                                         {"finished_at", run.finished_at},
                                         {"threads", run.threads},
                                         {"config", run.config},
                                         {"hosts", json_array(run.hosts)},
                                         {"warmup_steps", run.warmup_steps},
                                         {"measured_steps", run.measured_steps},
                                         {"numbers", std::move(numbers)},
                                         {"memory_bytes", json_array(run.memory_bytes)},
                                         {"layers", json_array(run.layers)},
                                         {"loads", std::move(loads)}})
                           .text();
    text.pop_back();
    return concat(text, kChecksum, checksum(text), "\"}");
}

ScalingRun scaling_run_from_line(const std::string& line) {
    const std::size_t end = line.rfind(kChecksum);
    if (end == std::string::npos ||
        line != concat(line.substr(0, end), kChecksum, checksum(line.substr(0, end)), "\"}"))
        throw IoError("scaling: a line is damaged or cut off");
    const Json json = Json::parse(line);
    ScalingRun run;
    run.task = task_from(json.at("task"));
    run.version = json.at("version").as_string();
    run.isa = json.at("isa").as_string();
    run.layout = json.at("layout").as_string();
    run.finished_at = json.at("finished_at").as_string();
    run.threads = json.at("threads").as_whole();
    run.config = json.at("config");
    for (const Json& host : json.at("hosts").as_array()) run.hosts.push_back(host.as_string());
    run.warmup_steps = json.at("warmup_steps").as_whole();
    run.measured_steps = json.at("measured_steps").as_whole();
    for (const ScalingNumber& number : kScalingNumbers) {
        const Json& value = json.at("numbers").at(number.name);
        run.numbers.push_back(value.is_null() ? std::numeric_limits<double>::quiet_NaN() : value.as_number());
    }
    run.memory_bytes = whole_numbers(json.at("memory_bytes"));
    run.layers = whole_numbers(json.at("layers"));
    for (const Json& slice : json.at("loads").as_array()) run.loads.push_back(slice_from(slice));
    return run;
}

}  // namespace sy::runtime
