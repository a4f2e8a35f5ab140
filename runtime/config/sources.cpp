#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>

#include "kernels/core/isa.hpp"
#include "kernels/cuda/module.hpp"
#include "model/families/preset.hpp"
#include "model/moe/router/problems.hpp"
#include "runtime/config/config_file.hpp"
#include "runtime/config/option.hpp"
#include "runtime/json/utf8.hpp"

namespace sy::runtime {
namespace {

constexpr const char* kEnvironmentPrefix = "SWITCHYARD_";
/// Variables with the prefix that are read elsewhere, being no settings of a run.
constexpr std::array kOtherVariables{kIsaVariable, kCudaModuleVariable, "SWITCHYARD_NCCL",
                                     "SWITCHYARD_CUDA_GROUPS", "SWITCHYARD_ORACLE_PYTHON"};

std::string environment_name(const std::string& option) {
    std::string name = kEnvironmentPrefix + option;
    std::transform(name.begin(), name.end(), name.begin(),
                   [](unsigned char c) { return c == '.' ? '_' : static_cast<char>(std::toupper(c)); });
    return name;
}

/// Fills a Config from sources in their order and collects what is wrong.
class Loader {
  public:
    void read_preset(const ConfigSources& sources) {
        if (sources.preset.empty()) {
            if (sources.scaled_down)
                problems_.emplace_back(
                    "--scaled-down without --preset: name the model; see switchyard help presets");
            return;
        }
        const std::optional<model::Preset> preset = model::find_preset(sources.preset);
        if (!preset) {
            std::vector<std::string> names;
            for (const model::Preset& known : model::presets()) names.push_back(known.name);
            problems_.push_back(concat("--preset ", sources.preset, ": there is no such model",
                                       suggestion(sources.preset, names, "; see switchyard help presets")));
            return;
        }
        config_.model = preset->model;
        config_.moe = preset->moe;
        if (sources.scaled_down) model::scale_down(config_.model, config_.moe);
    }

    void read_file(const std::string& name) {
        std::error_code ignored;
        std::ifstream file(name);
        if (!file || std::filesystem::is_directory(name, ignored)) {
            problems_.push_back(concat("config: cannot open ", name, "; check the name given with --config"));
            return;
        }
        // A device may go on for ever.
        constexpr std::size_t kMostBytes = std::size_t{1} << 20;
        std::string text(kMostBytes + 1, '\0');
        file.read(text.data(), static_cast<std::streamsize>(text.size()));
        text.resize(static_cast<std::size_t>(file.gcount()));
        if (text.size() > kMostBytes) {
            problems_.push_back(concat("config: ", name, " has more than ", kMostBytes,
                                       " bytes, as no settings have; check the name given with --config"));
        } else {
            read_text(text, name);
        }
    }

    void read_text(const std::string& text, const std::string& name) {
        const ConfigText parsed = read_config_text(text, name);
        problems_.insert(problems_.end(), parsed.problems.begin(), parsed.problems.end());
        std::set<std::string> unknown_sections;
        for (const Setting& setting : parsed.settings) {
            if (setting.section.empty()) {
                problems_.push_back(concat(setting.place, ": ", setting.key, " stands before any [section]",
                                           meant_option(setting.key)));
            } else if (is_section(setting.section)) {
                assign(setting.section + "." + setting.key, setting.value, setting.place);
            } else if (unknown_sections.insert(setting.section).second) {
                problems_.push_back(
                    concat(setting.place, ": unknown section [", setting.section, "]",
                           suggestion(setting.section, sections(), "; see switchyard help config")));
            }
        }
    }

    void read_environment() {
        for (const Option& option : options_) {
            const std::string name = environment_name(option.name);
            if (const char* const value = std::getenv(name.c_str())) assign(option.name, value, name);
        }
    }

    void read_assignment(const std::string& text) {
        const auto equals = text.find('=');
        if (equals == std::string::npos) {
            problems_.push_back(concat("--set ", text, ": write section.key=value"));
        } else {
            assign(trim(text.substr(0, equals)), text.substr(equals + 1), "--set");
        }
    }

    /// @throws ConfigError when anything was wrong
    Config finish() {
        fit_losses_to_router();
        for (const std::string& problem : joint_problems(config_)) add_joint_problem(problem);
        if (!problems_.empty()) throw ConfigError(problems_);
        return config_;
    }

  private:
    /// Another router is one setting: coefficients that nobody wrote down follow it, those that were are held against it.
    void fit_losses_to_router() {
        const model::UsefulLosses useful = model::useful_losses(config_.moe.router);
        model::BalanceConfig& balance = config_.moe.balance;
        if (!useful.switch_loss && !place_.contains("balance.switch_loss")) balance.switch_loss = 0.0;
        if (!useful.z_loss && !place_.contains("balance.z_loss")) balance.z_loss = 0.0;
    }

    void assign(const std::string& name, const std::string& value, const std::string& place) {
        const auto option = std::find_if(options_.begin(), options_.end(),
                                         [&](const Option& one) { return one.name == name; });
        if (option == options_.end()) {
            problems_.push_back(concat(place, ": unknown option ", name, meant_option(name)));
            return;
        }
        const std::string problem =
            is_utf8(value)
                ? option->set(value)
                : concat(
                      "'", escaped(value),
                      "' is not UTF-8, as metrics and checkpoints have to be; write it in UTF-8, or rename "
                      "the file that it names");
        place_[name] = place;
        if (problem.empty()) return;
        wrong_.insert(name);
        problems_.push_back(concat(place, ": ", name, ": ", problem));
    }

    /// The same key in another section first, then what is spelled alike.
    std::string meant_option(const std::string& name) const {
        const std::string key = name.substr(name.find('.') + 1);
        std::vector<std::string> names;
        for (const Option& option : options_) {
            if (option.key() == key) return concat("; did you mean ", option.name, "?");
            names.push_back(option.name);
        }
        return suggestion(name, names, "; see switchyard help config");
    }

    /// Says where the options that a problem names were set. A problem that an unreadable value may have caused is
    /// left out: the value has been reported.
    void add_joint_problem(const std::string& problem) {
        std::string places;
        for (const Option& option : options_) {
            if (!names(problem, option.name)) continue;
            if (wrong_.contains(option.name)) return;
            const auto place = place_.find(option.name);
            if (place == place_.end()) continue;
            places += concat(places.empty() ? "" : ", ", option.name, " from ", place->second);
        }
        problems_.push_back(places.empty() ? problem : concat(problem, " (", places, ")"));
    }

    /// Whether `text` contains `name` as a word of its own.
    static bool names(const std::string& text, const std::string& name) {
        const auto belongs = [](char c) {
            return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_';
        };
        for (auto at = text.find(name); at != std::string::npos; at = text.find(name, at + 1)) {
            const std::size_t end = at + name.size();
            if ((at == 0 || !belongs(text[at - 1])) && (end == text.size() || !belongs(text[end])))
                return true;
        }
        return false;
    }

    std::vector<std::string> sections() const {
        std::vector<std::string> result;
        for (const Option& option : options_) {
            if (result.empty() || result.back() != option.section()) result.push_back(option.section());
        }
        return result;
    }

    bool is_section(const std::string& name) const {
        const std::vector<std::string> known = sections();
        return std::find(known.begin(), known.end(), name) != known.end();
    }

    Config config_;
    std::vector<Option> options_ = options_of(config_);
    std::map<std::string, std::string> place_;
    std::set<std::string> wrong_;
    std::vector<std::string> problems_;
};

}  // namespace

std::string environment_note() {
    // What all of them begin with says nothing about what was meant.
    const auto behind_prefix = [](const std::string& name) {
        return name.substr(std::string_view(kEnvironmentPrefix).size());
    };
    Config config;
    std::vector<std::string> known;
    for (const char* const name : kOtherVariables) known.push_back(behind_prefix(name));
    for (const Option& option : options_of(config))
        known.push_back(behind_prefix(environment_name(option.name)));
    std::string unknown;
    for (char** entry = environ; *entry != nullptr; ++entry) {
        const std::string text = *entry;
        const std::string name = text.substr(0, text.find('='));
        if (!name.starts_with(kEnvironmentPrefix)) continue;
        const std::string word = behind_prefix(name);
        if (std::ranges::find(known, word) != known.end()) continue;
        const std::string meant = nearest_name(word, known);
        unknown += concat(unknown.empty() ? "" : ", ", name);
        if (!meant.empty()) unknown += concat(" (did you mean ", kEnvironmentPrefix, meant, "?)");
    }
    return unknown.empty() ? unknown
                           : concat("environment variables that are no settings are ignored: ", unknown);
}

Config load_config(const ConfigSources& sources) {
    Loader loader;
    loader.read_preset(sources);
    if (!sources.file.empty()) loader.read_file(sources.file);
    loader.read_environment();
    for (const std::string& assignment : sources.assignments) loader.read_assignment(assignment);
    return loader.finish();
}

Config parse_config(const std::string& text, const std::string& name) {
    Loader loader;
    loader.read_text(text, name);
    return loader.finish();
}

}  // namespace sy::runtime
