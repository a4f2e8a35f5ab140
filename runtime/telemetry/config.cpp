#include "runtime/telemetry/config.hpp"

#include <algorithm>
#include <sstream>
#include <string_view>
#include <vector>

namespace sy::runtime {
namespace {

constexpr const char* kEvery = "every:";

/// A number of a step, or 0.
index_t parse_step(const std::string& text) {
    const bool is_number = !text.empty() && text.size() <= 15 &&
                           std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
    return is_number ? std::stoll(text) : 0;
}

std::vector<index_t> listed_steps(const std::string& pattern) {
    std::vector<index_t> steps;
    std::istringstream list(pattern);
    for (std::string item; std::getline(list, item, ',');) steps.push_back(parse_step(item));
    return steps;
}

}  // namespace

bool is_chosen_step(const std::string& pattern, index_t step) {
    if (pattern == "none") return false;
    if (pattern.starts_with(kEvery)) return step % parse_step(pattern.substr(6)) == 0;
    const std::vector<index_t> steps = listed_steps(pattern);
    return std::ranges::find(steps, step) != steps.end();
}

std::string step_pattern_problem(const std::string& pattern) {
    if (pattern == "none") return {};
    const std::vector<index_t> steps =
        pattern.starts_with(kEvery) ? std::vector{parse_step(pattern.substr(6))} : listed_steps(pattern);
    if (!steps.empty() && std::ranges::find(steps, 0) == steps.end()) return {};
    return concat("'", pattern,
                  "' chooses no steps; use none, every:N with N >= 1, or a list such as 10,200");
}

TracedSteps parse_traced_steps(const std::string& text) {
    std::string steps = text;
    for (const char* word : {"steps ", "step "})
        if (steps.starts_with(word)) steps.erase(0, std::string_view(word).size());
    const std::size_t dash = steps.find('-');
    const TracedSteps result{parse_step(steps.substr(0, dash)),
                             parse_step(dash == std::string::npos ? steps : steps.substr(dash + 1))};
    return result.first > 0 && result.first <= result.last ? result : TracedSteps{};
}

std::string traced_steps_problem(const std::string& text) {
    if (text.empty() || text == "none" || parse_traced_steps(text).first > 0) return {};
    return concat("'", text, "' is no run of steps; use none, a step such as 10, or steps 10-12");
}

}  // namespace sy::runtime
