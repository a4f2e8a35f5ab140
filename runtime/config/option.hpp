#pragma once

#include <algorithm>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "runtime/config/config.hpp"

/// The option table: the one description from which config files, --set, the environment, help and dumps derive.
namespace sy::runtime {

enum class OptionType { whole_number, number, flag, choice, text };

/// One option, bound to a field.
struct Option {
    std::string name;  ///< "section.key"
    OptionType type = OptionType::text;
    std::string expected;  ///< "a whole number of at least 1", "one of f32|bf16", "text"
    std::string range;     ///< the same in short, for tables: ">= 1", "f32|bf16"; empty for text
    std::string unit;      ///< "steps"; empty for pure numbers and text
    std::string help;
    std::string initial;  ///< the default, as text
    /// Sets the field from text. @return what is wrong and what to try, or empty
    std::function<std::string(const std::string&)> set;
    std::function<std::string()> get;

    std::string section() const { return name.substr(0, name.find('.')); }
    std::string key() const { return name.substr(name.find('.') + 1); }
};

/// The table over the fields of `config`, which must outlive it; sections are contiguous.
std::vector<Option> options_of(Config& config);

/// What a table is made with: each call binds one field.
class OptionTable {
  public:
    /// Everything about an option but its field and range.
    struct Words {
        const char* name;
        const char* unit;
        const char* help;
    };
    /// A whole number in [low, high]. T: index_t or std::uint64_t.
    template <class T>
    void whole(const Words& words, T& field, T low, T high);
    /// A number in [low, high].
    void number(const Words& words, double& field, double low, double high);
    void text(const Words& words, std::string& field);
    void flag(const Words& words, bool& field);
    /// One of some words.
    template <class T>
    void choice(const Words& words, T& field, const std::vector<std::pair<std::string, T>>& values,
                OptionType type = OptionType::choice) {
        std::vector<std::string> known;
        std::vector<T> meant;
        for (const auto& [word, value] : values) {
            known.push_back(word);
            meant.push_back(value);
        }
        const auto idx_of_field = [&field, meant] {
            return static_cast<std::size_t>(std::find(meant.begin(), meant.end(), field) - meant.begin());
        };
        one_of(words, type, known, idx_of_field, [&field, meant](std::size_t idx) { field = meant[idx]; });
    }

    std::vector<Option> take() { return std::move(options_); }

  private:
    Option& add(const Words& words, OptionType type, std::string expected);
    /// A choice among `known`, by index.
    void one_of(const Words& words, OptionType type, const std::vector<std::string>& known,
                std::function<std::size_t()> get, std::function<void(std::size_t)> set);
    std::vector<Option> options_;
};

/// Checks that need several options: one sentence each with the remedy, naming options as "section.key".
std::vector<std::string> joint_problems(const Config& config);

/// The candidate that `word` most likely meant: fewest letters changed, dropped, added or swapped with their
/// neighbour; empty when every candidate is further than a third of the word.
std::string nearest_name(const std::string& word, const std::vector<std::string>& candidates);

/// "; did you mean NAME?", or `otherwise` when there is nothing near.
std::string suggestion(const std::string& word, const std::vector<std::string>& candidates,
                       const std::string& otherwise);

}  // namespace sy::runtime
