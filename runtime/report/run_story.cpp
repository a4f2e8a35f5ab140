#include "runtime/report/run_story.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <ctime>
#include <limits>
#include <map>

#include "kernels/core/error.hpp"
#include "runtime/report/record_lines.hpp"

namespace sy::runtime {
namespace {

constexpr double kNothing = std::numeric_limits<double>::quiet_NaN();

double number_at(const Json& record, std::initializer_list<const char*> path, const char* name) {
    const Json* place = &record;
    for (const char* part : path) {
        place = place->find(part);
        if (place == nullptr) return kNothing;
    }
    return number_in(*place, name);
}

struct StepLoads {
    std::vector<index_t> layers;
    Loads loads;
};

StepLoads loads_in(const Json& record) {
    StepLoads found;
    const Json* layers = record.find("layers");
    if (layers == nullptr || !layers->is_array()) return found;
    for (const Json& layer : layers->as_array()) {
        found.layers.push_back(whole_in(layer, "layer"));
        std::vector<double>& loads = found.loads.emplace_back();
        for (const Json& load : layer.at("load").as_array()) loads.push_back(load.as_number());
    }
    return found;
}

void add_costs(const Json& record, TrainingStep& step) {
    step.seconds = number_in(record, "seconds");
    step.tokens_per_s = number_in(record, "tokens_per_s");
    for (std::size_t i = 0; i < kPhaseNames.size(); ++i)
        step.phases[i] = number_at(record, {"phases"}, kPhaseNames[i]);
    step.waiting =
        step.seconds > 0.0 ? 100.0 * number_at(record, {"phases"}, "communication") / step.seconds : kNothing;
    constexpr std::array kExchange{"plan", "dispatch", "return"};
    step.exchange.back() = 0.0;
    for (std::size_t i = 0; i < kExchange.size(); ++i) {
        step.exchange[i] = number_at(record, {"exchange_seconds", kExchange[i]}, "exposed");
        const double total = number_at(record, {"exchange_seconds", kExchange[i]}, "total");
        // Ranks of a node are waited for before their transfer begins, too.
        step.exchange.back() += std::isfinite(total) ? std::max(0.0, total - step.exchange[i]) : kNothing;
    }
    step.network_bytes = number_at(record, {"traffic", "network"}, "bytes");
    step.network_bound = number_at(record, {"traffic"}, "network_bound");
    step.memory_bytes = number_in(record, "memory_bytes");
}

TrainingStep step_in(const Json& record, const StepLoads& loads) {
    TrainingStep step;
    step.step = number_in(record, "step");
    step.tokens = number_in(record, "tokens");  // of this step, until all are known
    step.token_loss = number_in(record, "token_loss");
    step.has_targets = number_in(record, "targets") != 0.0;
    step.gradient_norm = number_in(record, "gradient_norm");
    step.learning_rate = number_in(record, "learning_rate");
    step.imbalance = step.entropy = step.dropped = kNothing;
    double choices = 0.0;
    for (const auto& layer : loads.loads) {
        for (const double load : layer) choices += load;
        step.entropy = std::fmin(step.entropy, load_entropy(layer));
    }
    if (!loads.loads.empty()) {
        step.imbalance = number_in(record, "imbalance");
        step.dropped = choices > 0.0 ? 100.0 * number_in(record, "dropped") / choices : 0.0;
    }
    add_costs(record, step);
    return step;
}

Launch launch_in(const Json& record) {
    Launch launch{whole_in(record, "first_step"),
                  text_in(record, "version"),
                  text_in(record, "layout"),
                  text_in(record, "host"),
                  text_in(record, "threads"),
                  text_in(record, "isa"),
                  {}};
    if (const Json* notes = record.find("notes"); notes != nullptr && notes->is_array()) {
        for (const Json& note : notes->as_array()) launch.notes.push_back(note.as_string());
    }
    return launch;
}

std::vector<std::pair<std::string, std::string>> settings_in(const Json& record) {
    std::vector<std::pair<std::string, std::string>> settings;
    const Json* config = record.find("config");
    if (config == nullptr || !config->is_object()) return settings;
    for (const auto& [section, members] : config->as_object()) {
        if (!members.is_object()) continue;
        for (const auto& [key, value] : members.as_object())
            settings.emplace_back(section + "." + key, text_in(members, key.c_str()));
    }
    return settings;
}

/// "2026-11-30 12:01 UTC".
std::string time_text(index_t seconds) {
    const auto time = static_cast<std::time_t>(seconds);
    std::tm parts{};
    std::array<char, 40> text{};
    if (::gmtime_r(&time, &parts) == nullptr ||
        std::strftime(text.data(), text.size(), "%Y-%m-%d %H:%M UTC", &parts) == 0)
        return concat("second ", seconds);
    return text.data();
}

class StoryReader {
  public:
    explicit StoryReader(std::string name) { story_.name = std::move(name); }

    void add(const Json& record) {
        const std::string& type = record.at("type").as_string();
        if (type == "step") {
            add_step(record);
        } else if (type == "eval") {
            validations_[whole_in(record, "step")] = {number_in(record, "step"), kNothing,
                                                      number_in(record, "loss")};
        } else if (type == "run") {
            Launch launch = launch_in(record);
            if (!story_.launches.empty())
                event(EventKind::restart, static_cast<double>(launch.first_step), "on " + launch.layout);
            story_.launches.push_back(std::move(launch));
            story_.settings = settings_in(record);
        } else if (type == "checkpoint") {
            event(EventKind::checkpoint, number_in(record, "step"), {});
        } else if (type == "placement" && number_in(record, "moved") > 0.0) {
            event(
                EventKind::placement, number_in(record, "step"),
                concat(whole_in(record, "moved"), " experts changed their rank, ",
                       whole_in(record, "shadows"), " shadows; busiest rank over the mean ",
                       number_in(record, "imbalance_before"), " -> ", number_in(record, "imbalance_after")));
        } else if (type == "end" && record.at("stopped_early").as_bool()) {
            event(EventKind::stop, number_in(record, "step"),
                  "after this step, by a signal or run.stop_after");
        }
    }

    void add_job(const Json& record) {
        const std::string job =
            concat("job ", text_in(record, "job"), ", restart ", whole_in(record, "restart"), ", ",
                   time_text(whole_in(record, "time")));
        if (record.at("type") == "start") {
            event(EventKind::job, number_in(record, "from_step"),
                  concat(job, ": begins with ", whole_in(record, "ranks"), " ranks on ",
                         whole_in(record, "nodes"), " nodes; ", whole_in(record, "lost_steps"),
                         " steps to do again"));
        } else {
            event(EventKind::job, number_in(record, "saved_step"),
                  concat(job, ": ", text_in(record, "why"), "; ", text_in(record, "next")));
        }
    }

    void add_aside(const std::filesystem::path& folder) {
        index_t first = std::numeric_limits<index_t>::max();
        index_t last = 0;
        read_records(folder / "metrics.jsonl", [&](const Json& record) {
            if (!(record.at("type") == "step")) return;
            first = std::min(first, whole_in(record, "step"));
            last = std::max(last, whole_in(record, "step"));
        });
        if (last > 0)
            event(EventKind::aside, static_cast<double>(first),
                  concat(folder.filename().string(), ": steps ", first, " to ", last));
    }

    RunStory finish() {
        double tokens = 0.0;
        for (auto& [number, step] : steps_) {
            // A run that went on from another's checkpoint has had its tokens as well.
            if (number == steps_.begin()->first) tokens = (static_cast<double>(number) - 1.0) * step.tokens;
            if (std::isfinite(step.tokens)) tokens += step.tokens;
            step.tokens = tokens;
            story_.steps.push_back(step);
        }
        for (auto& [number, validation] : validations_) {
            const auto step = steps_.find(number);
            if (step != steps_.end()) validation.tokens = step->second.tokens;
            story_.validations.push_back(validation);
        }
        for (const index_t step : skipped_) event(EventKind::skipped, static_cast<double>(step), {});
        std::stable_sort(story_.events.begin(), story_.events.end(),
                         [](const RunEvent& left, const RunEvent& right) { return left.step < right.step; });
        return std::move(story_);
    }

  private:
    void add_step(const Json& record) {
        const StepLoads loads = loads_in(record);
        const index_t number = whole_in(record, "step");
        steps_[number] = step_in(record, loads);
        story_.loads.add(number, loads.layers, loads.loads);
        const Json* applied = record.find("applied");
        const bool was_skipped = applied != nullptr && applied->is_bool() && !applied->as_bool();
        std::erase(skipped_, number);
        if (was_skipped) skipped_.push_back(number);
    }

    void event(EventKind kind, double step, std::string text) {
        if (std::isfinite(step)) story_.events.push_back({kind, step, std::move(text)});
    }

    RunStory story_;
    std::map<index_t, TrainingStep> steps_;  ///< of a step that is there twice, the later record counts
    std::map<index_t, ValidationLoss> validations_;
    std::vector<index_t> skipped_;
};

}  // namespace

RunStory read_story(const std::filesystem::path& folder, std::string name) {
    StoryReader reader(std::move(name));
    const std::filesystem::path metrics = folder / "metrics.jsonl";
    if (read_records(metrics, [&](const Json& record) { reader.add(record); }).used == 0)
        throw IoError(concat("report: no line of ", metrics.string(), " is a record of a run"));
    if (std::filesystem::exists(folder / "jobs.jsonl"))
        read_records(folder / "jobs.jsonl", [&](const Json& record) { reader.add_job(record); });
    for (index_t i = 1; std::filesystem::exists(folder / concat("aside-", i) / "metrics.jsonl"); ++i)
        reader.add_aside(folder / concat("aside-", i));
    return reader.finish();
}

}  // namespace sy::runtime
