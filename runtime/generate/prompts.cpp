#include "runtime/generate/prompts.hpp"

#include "runtime/data/text_file.hpp"
#include "runtime/json/json.hpp"
#include "runtime/json/utf8.hpp"

namespace sy::runtime {
namespace {

/// Prompts are held in memory; what is larger is no list of them.
constexpr index_t kMostBytes = index_t{1} << 30;

std::string read_file(const std::string& path) {
    const TextFile file(path);
    if (file.num_bytes() > kMostBytes) {
        throw ConfigError(concat("generate.prompts = ", path, " has ", file.num_bytes(),
                                 " bytes; prompts are held in memory, so cut it into files of at most ",
                                 kMostBytes));
    }
    std::string text(static_cast<std::size_t>(file.num_bytes()), '\0');
    file.read(0, std::as_writable_bytes(std::span(text)));
    return text;
}

/// Lines without their ends; what follows the last end is one when it is not empty.
std::vector<std::string_view> lines_of(std::string_view text) {
    std::vector<std::string_view> lines;
    while (!text.empty()) {
        const std::size_t end = text.find('\n');
        std::string_view line = text.substr(0, end);
        if (line.ends_with('\r')) line.remove_suffix(1);
        lines.push_back(line);
        text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    }
    return lines;
}

/// @return what is wrong with a line of a .jsonl file, or empty with the prompt in `text`
std::string read_object(std::string_view line, std::string& text) {
    constexpr const char* kExpected = "expected {\"prompt\": TEXT}";
    if (!is_utf8(line)) return "it is not UTF-8; convert the file";
    try {
        const Json object = Json::parse(line);
        if (!object.is_object()) return concat("it is no JSON object; ", kExpected);
        for (const Json::Member& member : object.as_object()) {
            if (member.name != "prompt")
                return concat("unknown key \"", escaped(member.name), "\"; ", kExpected);
        }
        const Json* const prompt = object.find("prompt");
        if (prompt == nullptr) return concat("it has no prompt; ", kExpected);
        text = prompt->as_string();
    } catch (const IoError& error) {
        return concat(error.what(), "; ", kExpected);
    }
    return {};
}

}  // namespace

std::vector<Prompt> read_prompts(const GenerateConfig& config) {
    if (config.prompts.empty()) return {{config.prompt, "generate.prompt"}};
    const std::string file = read_file(config.prompts);
    const bool is_json = config.prompts.ends_with(".jsonl");
    std::vector<Prompt> prompts;
    std::vector<std::string> problems;
    for (const std::string_view line : lines_of(file)) {
        Prompt& prompt = prompts.emplace_back();
        prompt.place = concat(config.prompts, ":", prompts.size());
        std::string problem;
        if (is_json && !line.empty()) {
            problem = read_object(line, prompt.text);
        } else {
            prompt.text = line;
        }
        if (problem.empty() && prompt.text.empty()) problem = "the prompt is empty; leave the line out";
        if (!problem.empty()) problems.push_back(concat(prompt.place, ": ", problem));
    }
    if (!problems.empty()) throw ConfigError(problems);
    return prompts;
}

std::vector<std::vector<std::int32_t>> prompt_tokens(const std::vector<Prompt>& prompts,
                                                     const Tokenizer& tokenizer, const Config& config) {
    const index_t most = config.model.seq_len;
    const index_t more = config.generate.tokens;
    std::vector<std::vector<std::int32_t>> result;
    std::vector<std::string> problems;
    for (const Prompt& prompt : prompts) {
        const std::span<const std::int32_t> begin = tokenizer.text_begin();
        std::vector<std::int32_t>& ids = result.emplace_back(begin.begin(), begin.end());
        const std::vector<std::int32_t> text = tokenizer.encode(prompt.text);
        ids.insert(ids.end(), text.begin(), text.end());
        const auto count = static_cast<index_t>(ids.size());
        if (text.empty()) {
            problems.push_back(
                concat(prompt.place, " is empty; give a decoder at least one token to go on from"));
        } else if (count + more > most) {
            problems.push_back(concat(prompt.place, ": its ", count, " tokens and generate.tokens = ", more,
                                      " are more than the ", most, " of model.seq_len; ",
                                      count < most
                                          ? concat("generate.tokens = ", most - count, " is the most")
                                          : std::string("shorten the prompt")));
        }
    }
    if (!problems.empty()) throw ConfigError(problems);
    return result;
}

std::vector<std::string> stop_strings(const std::string& setting) {
    if (setting.empty()) return {};
    if (setting.front() != '[') return {setting};
    std::vector<std::string> stops;
    try {
        const Json list = Json::parse(setting);
        for (const Json& stop : list.as_array()) {
            stops.push_back(stop.as_string());
            if (stops.back().empty()) throw IoError("one of them is empty, which every text begins with");
        }
    } catch (const IoError& error) {
        throw ConfigError(
            concat("generate.stop = ", setting, ": ", error.what(),
                   "; give one string, or a JSON array of strings such as [\"\\n\", \"User:\"]"));
    }
    return stops;
}

}  // namespace sy::runtime
