#include "runtime/report/history.hpp"

#include <cmath>
#include <limits>
#include <map>

#include "kernels/core/error.hpp"
#include "runtime/report/record_lines.hpp"

namespace sy::runtime {
namespace {

constexpr double kNothing = std::numeric_limits<double>::quiet_NaN();

StepPoint step_point(const Json& record) {
    StepPoint point;
    point.step = whole_in(record, "step");
    point.token_loss = number_in(record, "token_loss");
    // Runs of earlier versions do not say; a decoder always has targets.
    point.has_targets = number_in(record, "targets") != 0.0;
    point.gradient_norm = number_in(record, "gradient_norm");
    point.tokens = whole_in(record, "tokens");
    point.seconds = number_in(record, "seconds");
    point.load = point.dropped = point.logsumexp = kNothing;
    const Json* layers = record.find("layers");
    if (layers == nullptr || !layers->is_array() || layers->as_array().empty()) return point;
    double choices = 0.0;
    for (const Json& layer : layers->as_array()) {
        for (const Json& load : layer.at("load").as_array()) choices += load.as_number();
    }
    point.load = number_in(record, "imbalance");
    point.dropped = choices > 0.0 ? number_in(record, "dropped") / choices : 0.0;
    if (const Json* losses = record.find("extra_losses"); losses && losses->is_object()) {
        const auto num_layers = static_cast<double>(layers->as_array().size());
        point.logsumexp = std::sqrt(number_in(*losses, "z_loss") / num_layers);
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
    bool finished = false;

    /// @throws IoError for one that is of no run: another program wrote it
    void add(const Json& record) {
        const Json& type = record.at("type");
        if (type == "step") {
            steps[whole_in(record, "step")] = step_point(record);
        } else if (type == "eval") {
            const index_t step = whole_in(record, "step");
            validations[step] = {step, number_in(record, "bits_per_byte")};
        }
        finished = type == "end" && reached_its_end(record);
    }
};

}  // namespace

RunHistory read_history(const std::filesystem::path& folder) {
    const std::filesystem::path path = folder / "metrics.jsonl";
    Records records;
    RunHistory history;
    const LinesRead lines = read_records(path, [&](const Json& record) { records.add(record); });
    if (lines.used == 0) throw IoError(concat("report: no line of ", path.string(), " is a record of a run"));
    history.unread_lines = lines.passed_over;
    for (const auto& [step, point] : records.steps) history.steps.push_back(point);
    for (const auto& [step, point] : records.validations) history.validations.push_back(point);
    history.finished = records.finished;
    return history;
}

}  // namespace sy::runtime
