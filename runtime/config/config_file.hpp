#pragma once

#include <string>
#include <vector>

/// The form of config files: [section], key = value, # comments; text in double quotes where spaces or # matter.
namespace sy::runtime {

/// One assignment as written.
struct Setting {
    std::string section;
    std::string key;
    std::string value;
    std::string place;  ///< "run.conf:12"
};

struct ConfigText {
    std::vector<Setting> settings;
    std::vector<std::string> problems;
};

/// Takes a config file apart; knows no option. @param name  what the text is called in places
ConfigText read_config_text(const std::string& text, const std::string& name);

/// A value as it has to be written in a config file to read back unchanged.
std::string quote_if_needed(const std::string& value);

/// `text` without the blanks at its ends.
std::string trim(const std::string& text);

}  // namespace sy::runtime
