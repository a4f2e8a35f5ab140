#include "runtime/report/history.hpp"

#include <cmath>
#include <fstream>
#include <limits>
#include <map>
#include <system_error>

#include "kernels/core/error.hpp"
#include "runtime/json/json.hpp"

namespace sy::runtime {
namespace {

constexpr double kNothing = std::numeric_limits<double>::quiet_NaN();

double number(const Json& record, const char* name) {
    const Json* value = record.find(name);
    return value != nullptr && value->is_number() ? value->as_number() : kNothing;
}

index_t whole(const Json& record, const char* name) {
    const Json* value = record.find(name);
    return value != nullptr && value->is_whole() ? value->as_whole() : 0;
}

StepPoint step_point(const Json& record) {
    StepPoint point;
    point.step = whole(record, "step");
    point.token_loss = number(record, "token_loss");
    // Runs of earlier versions do not say; a decoder always has targets.
    point.has_targets = number(record, "targets") != 0.0;
    point.gradient_norm = number(record, "gradient_norm");
    point.tokens = whole(record, "tokens");
    point.seconds = number(record, "seconds");
    point.load = point.dropped = point.logsumexp = kNothing;
    const Json* layers = record.find("layers");
    if (layers == nullptr || !layers->is_array() || layers->as_array().empty()) return point;
    double choices = 0.0;
    for (const Json& layer : layers->as_array()) {
        for (const Json& load : layer.at("load").as_array()) choices += load.as_number();
    }
    point.load = number(record, "imbalance");
    point.dropped = choices > 0.0 ? number(record, "dropped") / choices : 0.0;
    if (const Json* losses = record.find("extra_losses"); losses && losses->is_object()) {
        const auto num_layers = static_cast<double>(layers->as_array().size());
        point.logsumexp = std::sqrt(number(*losses, "z_loss") / num_layers);
    }
    return point;
}

bool reached_its_end(const Json& record) {
    const Json* early = record.find("stopped_early");
    return early != nullptr && early->is_bool() && !early->as_bool();
}

/// What has been read so far; the later record of a step counts.
struct Records {
    std::map<index_t, StepPoint> steps;
    std::map<index_t, ValidationPoint> validations;
    bool any = false;
    bool finished = false;

    /// @throws IoError for a line that is no record: a killed run left it unfinished, or another program wrote it
    void add(const std::string& line) {
        const Json record = Json::parse(line);
        const Json& type = record.at("type");
        if (type == "step") {
            steps[whole(record, "step")] = step_point(record);
        } else if (type == "eval") {
            const index_t step = whole(record, "step");
            validations[step] = {step, number(record, "bits_per_byte")};
        }
        any = true;
        finished = type == "end" && reached_its_end(record);
    }
};

}  // namespace

RunHistory read_history(const std::filesystem::path& folder) {
    const std::filesystem::path path = folder / "metrics.jsonl";
    // A pipe would be waited for, and a device may go on for ever.
    std::error_code ignored;
    const bool is_file = std::filesystem::is_regular_file(path, ignored);
    std::ifstream file;
    if (is_file) file.open(path);
    if (!is_file || !file)
        throw IoError(concat("report: cannot read ", path.string(), "; give the run.directory of a run"));
    Records records;
    RunHistory history;
    for (std::string line; std::getline(file, line);) {
        if (line.empty()) continue;
        try {
            records.add(line);
        } catch (const IoError&) {
            ++history.unread_lines;
        }
    }
    if (!records.any) throw IoError(concat("report: no line of ", path.string(), " is a record of a run"));
    for (const auto& [step, point] : records.steps) history.steps.push_back(point);
    for (const auto& [step, point] : records.validations) history.validations.push_back(point);
    history.finished = records.finished;
    return history;
}

}  // namespace sy::runtime
