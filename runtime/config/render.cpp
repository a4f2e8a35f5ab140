#include <algorithm>
#include <iomanip>

#include "runtime/config/config_file.hpp"
#include "runtime/config/option.hpp"
#include "runtime/json/json.hpp"

namespace sy::runtime {
namespace {

/// Numbers and yes and no as JSON's own, words and text as strings.
Json json_value(const Option& option) {
    const std::string text = option.get();
    switch (option.type) {
        case OptionType::whole_number:
        case OptionType::number:
            return Json::parse(text);
        case OptionType::flag:
            if (text == "yes" || text == "no") return text == "yes";
            break;
        case OptionType::choice:
        case OptionType::text:
            break;
    }
    return text;
}

std::size_t widest(const std::vector<Option>& options,
                   const std::function<std::string(const Option&)>& column) {
    std::size_t width = 0;
    for (const Option& option : options) width = std::max(width, column(option).size());
    return width;
}

}  // namespace

std::string dump(const Config& config) {
    Config copy = config;
    std::string text;
    std::string section;
    for (const Option& option : options_of(copy)) {
        if (option.section() != section) {
            section = option.section();
            text += concat(text.empty() ? "" : "\n", "[", section, "]\n");
        }
        text += concat(option.key(), " = ", quote_if_needed(option.get()), "\n");
    }
    return text;
}

std::string dump_json(const Config& config) {
    Config copy = config;
    Json root;
    for (const Option& option : options_of(copy)) {
        root[option.section()][option.key()] = json_value(option);
    }
    return root.text();
}

std::string config_help(const std::string& section) {
    Config defaults;
    const std::vector<Option> options = options_of(defaults);
    std::vector<std::string> sections;
    for (const Option& option : options) {
        if (sections.empty() || sections.back() != option.section()) sections.push_back(option.section());
    }
    if (!section.empty() && std::find(sections.begin(), sections.end(), section) == sections.end()) {
        throw ConfigError(concat("help config: unknown section ", section,
                                 suggestion(section, sections, "; see switchyard help config")));
    }
    std::ostringstream text;
    text << "Options are set in a file (--config FILE), in the environment (SWITCHYARD_SECTION_KEY=value) or "
            "on the\n"
            "command line (--set section.key=value); later ones win in this order. SWITCHYARD_ISA is no "
            "option: it\n"
            "lowers the instructions in use (see switchyard --help). The file has the form\n"
            "  [section]\n"
            "  key = value    # comment; write \"text\" in quotes to keep blanks at its ends\n";
    const auto key_width =
        static_cast<int>(widest(options, [](const Option& option) { return option.key(); }));
    const auto value_width = static_cast<int>(widest(
        options, [](const Option& option) { return quote_if_needed(option.initial) + " " + option.unit; }));
    std::string current;
    for (const Option& option : options) {
        if (!section.empty() && option.section() != section) continue;
        if (option.section() != current) text << "\n[" << (current = option.section()) << "]\n";
        const std::string value =
            concat(quote_if_needed(option.initial), option.unit.empty() ? "" : " ", option.unit);
        text << "  " << std::left << std::setw(key_width) << option.key() << "  " << std::setw(value_width)
             << value << "  " << option.help;
        if (!option.range.empty()) text << " (" << option.range << ")";
        text << "\n";
    }
    return text.str();
}

}  // namespace sy::runtime
