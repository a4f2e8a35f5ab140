#include <iomanip>
#include <sstream>

#include "model/families/preset.hpp"
#include "runtime/cli/command_line.hpp"
#include "runtime/plan/lints.hpp"
#include "runtime/plan/units.hpp"

namespace sy::runtime {
namespace {

/// A count beside what was published.
std::string with_published(index_t count, const model::PublishedSize& published) {
    std::string cell = with_prefix(static_cast<double>(count), "");
    if (published.value == 0.0) return cell;
    if (published.digits == 0) {
        const bool same = static_cast<double>(count) == published.value;
        return cell + concat(" (", same ? "exact" : with_prefix(published.value, ""), ")");
    }
    return cell + (published.value < 1e9 ? concat(" (", published.value / 1e6, " M)")
                                         : concat(" (", published.value / 1e9, " G)"));
}

}  // namespace

std::string plan_report(const Config& config, const PlanRequest& request, const JobLimits& limits) {
    const Plan plan = make_plan(config, request);
    check_limits(plan, limits);
    std::string text = to_text(plan);
    const std::vector<std::string> advice = lints(config);
    if (!advice.empty()) text += "Unusual in this config (advice, no error)\n";
    for (const std::string& sentence : advice) text += concat("- ", sentence, "\n");
    for (const std::string& note : plan_notes(config, plan)) text += concat("note: ", note, "\n");
    for (const std::string& note : model::model_notes(config.moe)) text += concat("note: ", note, "\n");
    return text;
}

std::string recommendation_report(const Config& config, const Cluster& cluster,
                                  const std::string& calibration, ReportStyle style) {
    const Calibration costs =
        calibration.empty() ? assumed_calibration(config) : read_calibration(calibration, config);
    const Recommendation recommendation = recommend(config, cluster, costs);
    return style == ReportStyle::json ? to_json_lines(recommendation)
                                      : to_text(recommendation, config, cluster, costs);
}

std::string presets_help() {
    std::ostringstream text;
    text << "Published models for --preset NAME; settings of --config and --set win over them. With "
            "--scaled-down\nthe same structure in small, on bytes. Parameters are those of the config, in "
            "brackets the "
            "published ones.\n\n"
         << std::left;
    const auto row = [&](const std::string& name, const std::string& total,
                         const std::string& active) -> auto& {
        return text << "  " << std::setw(23) << name << std::setw(23) << total << std::setw(21) << active;
    };
    row("name", "parameters", "active of a token") << "source\n";
    for (const model::Preset& preset : model::presets()) {
        const model::ModelSize size = model::model_size(preset.model, preset.moe);
        row(preset.name, with_published(size.total_parameters, preset.total),
            with_published(size.active_parameters, preset.active))
            << preset.source << "\n";
    }
    return text.str();
}

}  // namespace sy::runtime
