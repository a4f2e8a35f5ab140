#include "runtime/interchange/gguf/pre_tokenizers.hpp"

#include <array>

#include "kernels/core/error.hpp"
#include "runtime/json/utf8.hpp"

namespace sy::runtime::gguf {
namespace {

/// Steps as a tokenizer.json lists them, sequences unfolded.
void unfold(const Json& step, std::vector<const Json*>& steps) {
    const Json* const list = step.find("pretokenizers");
    if (list == nullptr) {
        steps.push_back(&step);
        return;
    }
    for (const Json& one : list->as_array()) unfold(one, steps);
}

bool flag(const Json& step, std::string_view name, bool otherwise) {
    const Json* const value = step.find(name);
    return value == nullptr || value->is_null() ? otherwise : value->as_bool();
}

/// The pattern of a step that keeps matches and what is between them. @throws ConfigError for any other step
std::string pattern_of(const Json& step) {
    const Json* const pattern =
        step.at("type").as_string() == "Split" ? step.at("pattern").find("Regex") : nullptr;
    if (pattern == nullptr || step.at("behavior").as_string() != "Isolated" || flag(step, "invert", false))
        throw ConfigError(concat("the pre-tokenizer ", escaped(step.text()), " is none of llama.cpp's"));
    return pattern->as_string();
}

struct Steps {
    std::vector<std::string> patterns;
    bool own_pattern = false;  ///< ByteLevel's
};

/// @throws ConfigError where the last step is not ByteLevel, or one before it is not a Split
Steps steps_of(const Json& file) {
    std::vector<const Json*> steps;
    const Json* const part = file.find("pre_tokenizer");
    if (part != nullptr && !part->is_null()) unfold(*part, steps);
    if (steps.empty() || steps.back()->at("type").as_string() != "ByteLevel")
        throw ConfigError("only tokenizers over bytes (ByteLevel) can be written to GGUF");
    if (flag(*steps.back(), "add_prefix_space", true))
        throw ConfigError("ByteLevel adds a blank before each text (add_prefix_space), llama.cpp does not");
    Steps result;
    result.own_pattern = flag(*steps.back(), "use_regex", true);
    steps.pop_back();
    for (const Json* const step : steps) result.patterns.push_back(pattern_of(*step));
    return result;
}

}  // namespace

std::span<const KnownPreTokenizer> known_pre_tokenizers() {
    static const std::array kKnown{
        KnownPreTokenizer{.name = "gpt-2", .patterns = {}},
        KnownPreTokenizer{
            .name = "qwen2",
            .patterns =
                {R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|)"
                 R"(\s*[\r\n]+|\s+(?!\S)|\s+)"},
            .nfc = true},
        KnownPreTokenizer{
            .name = "llama-bpe",
            .patterns =
                {R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|)"
                 R"(\s*[\r\n]+|\s+(?!\S)|\s+)"},
            .ignore_merges = true},
        KnownPreTokenizer{
            .name = "deepseek-v3",
            .patterns = {R"(\p{N}{1,3})", "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+",
                         R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|)"
                         "[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|"
                         "\\s+(?!\\S)|\\s+"}},
    };
    return kKnown;
}

const KnownPreTokenizer& known_pre_tokenizer(const Json& file) {
    const Steps steps = steps_of(file);
    const bool ignore_merges = flag(file.at("model"), "ignore_merges", false);
    std::string names;
    for (const KnownPreTokenizer& known : known_pre_tokenizers()) {
        names += concat(names.empty() ? "" : ", ", known.name);
        if (known.patterns == steps.patterns && known.patterns.empty() == steps.own_pattern &&
            known.ignore_merges == ignore_merges)
            return known;
    }
    std::string patterns;
    for (const std::string& pattern : steps.patterns) patterns += concat(" ", escaped(pattern));
    throw ConfigError(concat(
        "its pre-tokenizer is none of those that llama.cpp has a name for and that are known here (", names,
        "): patterns", patterns, steps.own_pattern ? " of ByteLevel itself" : "", ", ignore_merges = ",
        ignore_merges ? "true" : "false", "; with another name llama.cpp would cut texts into other tokens"));
}

}  // namespace sy::runtime::gguf
