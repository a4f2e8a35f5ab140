#include "runtime/train/freeze.hpp"

#include <algorithm>
#include <sstream>

#include "runtime/config/option.hpp"

namespace sy::runtime {
namespace {

/// Patterns that fit a name and that somebody might write: "*.moe.experts.up", "*.moe.experts.*", "layers.0.*", ...
void add_patterns(const std::string& name, std::vector<std::string>& patterns) {
    patterns.push_back(name);
    for (auto dot = name.find('.'); dot != std::string::npos; dot = name.find('.', dot + 1)) {
        patterns.push_back(concat("*", name.substr(dot)));
        patterns.push_back(concat(name.substr(0, dot), ".*"));
        for (auto end = name.find('.', dot + 1); end != std::string::npos; end = name.find('.', end + 1))
            patterns.push_back(concat("*", name.substr(dot, end - dot), ".*"));
    }
}

}  // namespace

bool matches(const std::string& pattern, const std::string& name) {
    // Where the last * stands, and up to where it has swallowed the name.
    std::size_t star = std::string::npos;
    std::size_t swallowed = 0;
    std::size_t p = 0;
    for (std::size_t n = 0; n < name.size();) {
        if (p < pattern.size() && pattern[p] == '*') {
            star = p++;
            swallowed = n;
        } else if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == name[n])) {
            ++p;
            ++n;
        } else if (star != std::string::npos) {
            p = star + 1;
            n = ++swallowed;
        } else {
            return false;
        }
    }
    return pattern.find_first_not_of('*', p) == std::string::npos;
}

void freeze_parameters(const std::string& patterns, model::Parameters& parameters) {
    std::vector<std::string> candidates;
    for (const model::ParameterSpec& spec : parameters.specs()) add_patterns(spec.name, candidates);
    std::vector<std::string> problems;
    std::istringstream list(patterns);
    for (std::string pattern; std::getline(list, pattern, ',');) {
        const auto begin = pattern.find_first_not_of(' ');
        pattern = begin == std::string::npos
                      ? ""
                      : pattern.substr(begin, pattern.find_last_not_of(' ') + 1 - begin);
        bool found = false;
        for (std::size_t id = 0; id < parameters.specs().size(); ++id) {
            if (!matches(pattern, parameters.specs()[id].name)) continue;
            parameters.freeze(static_cast<model::ParameterId>(id));
            found = true;
        }
        if (!found) {
            problems.push_back(
                concat("train.freeze: no parameter has a name like '", pattern, "'",
                       suggestion(pattern, candidates, "; switchyard checkpoint inspect lists the names")));
        }
    }
    if (std::ranges::all_of(parameters.specs(), [](const auto& spec) { return spec.frozen; }))
        problems.push_back(
            concat("train.freeze = ", patterns, " freezes every parameter; leave something to learn"));
    if (!problems.empty()) throw ConfigError(problems);
}

}  // namespace sy::runtime
