#include "runtime/report/history.hpp"

#include <boost/json.hpp>
#include <cmath>
#include <fstream>
#include <limits>
#include <map>

#include "kernels/core/error.hpp"

namespace sy::runtime {
namespace {

namespace json = boost::json;

constexpr double kNothing = std::numeric_limits<double>::quiet_NaN();

double number(const json::object& record, const char* name) {
    const json::value* value = record.if_contains(name);
    return value != nullptr && value->is_number() ? value->to_number<double>() : kNothing;
}

index_t whole(const json::object& record, const char* name) {
    const json::value* value = record.if_contains(name);
    return value != nullptr && value->is_int64() ? value->as_int64() : 0;
}

StepPoint step_point(const json::object& record) {
    StepPoint point;
    point.step = whole(record, "step");
    point.token_loss = number(record, "token_loss");
    point.gradient_norm = number(record, "gradient_norm");
    point.tokens = whole(record, "tokens");
    point.seconds = number(record, "seconds");
    point.load = point.dropped = point.logsumexp = kNothing;
    const json::value* layers = record.if_contains("layers");
    if (layers == nullptr || !layers->is_array() || layers->as_array().empty()) return point;
    double choices = 0.0;
    for (const json::value& layer : layers->as_array()) {
        for (const json::value& load : layer.at("load").as_array()) choices += load.to_number<double>();
    }
    point.load = number(record, "imbalance");
    point.dropped = choices > 0.0 ? number(record, "dropped") / choices : 0.0;
    if (const json::value* losses = record.if_contains("extra_losses"); losses && losses->is_object()) {
        const auto num_layers = static_cast<double>(layers->as_array().size());
        point.logsumexp = std::sqrt(number(losses->as_object(), "z_loss") / num_layers);
    }
    return point;
}

bool reached_its_end(const json::object& record) {
    const json::value* early = record.if_contains("stopped_early");
    return early != nullptr && early->is_bool() && !early->as_bool();
}

}  // namespace

RunHistory read_history(const std::filesystem::path& folder) {
    const std::filesystem::path path = folder / "metrics.jsonl";
    std::ifstream file(path);
    if (!file)
        throw IoError(concat("report: cannot read ", path.string(), "; give the run.directory of a run"));
    std::map<index_t, StepPoint> steps;
    std::map<index_t, ValidationPoint> validations;
    RunHistory history;
    bool any = false;
    for (std::string line; std::getline(file, line);) {
        boost::system::error_code broken;
        const json::value value = json::parse(line, broken);
        if (broken || !value.is_object() || !value.as_object().contains("type")) continue;
        const json::object& record = value.as_object();
        any = true;
        const json::value& type = record.at("type");
        if (type == "step") {
            steps[whole(record, "step")] = step_point(record);
        } else if (type == "eval") {
            const index_t step = whole(record, "step");
            validations[step] = {step, number(record, "bits_per_byte")};
        }
        history.finished = type == "end" && reached_its_end(record);
    }
    if (!any) throw IoError(concat("report: no line of ", path.string(), " is a record of a run"));
    for (const auto& [step, point] : steps) history.steps.push_back(point);
    for (const auto& [step, point] : validations) history.validations.push_back(point);
    return history;
}

}  // namespace sy::runtime
