#include "runtime/generate/results.hpp"

#include <cmath>
#include <limits>

#include "kernels/core/error.hpp"
#include "runtime/json/json.hpp"
#include "runtime/json/utf8.hpp"

namespace sy::runtime {
namespace {

constexpr const char* kFinishNames[] = {"length", "stop", "end"};

const char* name_of(FinishReason reason) {
    return kFinishNames[static_cast<std::size_t>(reason)];
}

Json::Array numbers(const std::vector<double>& values) {
    Json::Array array;
    for (const double value : values) array.push_back(std::isnan(value) ? Json() : Json(value));
    return array;
}

std::vector<double> numbers_of(const Json& array) {
    std::vector<double> values;
    for (const Json& value : array.as_array())
        values.push_back(value.is_null() ? std::numeric_limits<double>::quiet_NaN() : value.as_number());
    return values;
}

}  // namespace

std::string to_message(const std::vector<GenerationResult>& results) {
    Json::Array list;
    for (const GenerationResult& result : results) {
        list.push_back(Json::Object{{"prompt_idx", result.prompt_idx},
                                    {"tokens", json_array(result.tokens)},
                                    {"logprobs", numbers(result.logprobs)},
                                    {"prompt_logprobs", numbers(result.prompt_logprobs)},
                                    {"finish", static_cast<index_t>(result.finish)}});
    }
    return Json(std::move(list)).text();
}

std::vector<GenerationResult> from_message(const std::string& message) {
    std::vector<GenerationResult> results;
    const Json list = Json::parse(message);
    for (const Json& one : list.as_array()) {
        GenerationResult& result = results.emplace_back();
        result.prompt_idx = one.at("prompt_idx").as_whole();
        for (const Json& id : one.at("tokens").as_array())
            result.tokens.push_back(narrow<std::int32_t>(id.as_whole()));
        result.logprobs = numbers_of(one.at("logprobs"));
        result.prompt_logprobs = numbers_of(one.at("prompt_logprobs"));
        result.finish = static_cast<FinishReason>(one.at("finish").as_whole());
    }
    return results;
}

ResultWriter::ResultWriter(std::ostream& out, const GenerateConfig& config,
                           const std::vector<Prompt>& prompts)
    : out_(out), config_(config), prompts_(prompts) {}

void ResultWriter::show(index_t prompt_idx, std::string_view text) {
    if (prompt_idx != next_ || config_.output != GenerateOutput::text) return;
    const std::string whole = concat(prompts_[static_cast<std::size_t>(prompt_idx)].text, text);
    if (whole.size() <= shown_) return;
    out_ << std::string_view(whole).substr(shown_) << std::flush;
    shown_ = whole.size();
}

void ResultWriter::add(const GenerationResult& result, std::string text) {
    waiting_.emplace(result.prompt_idx, Finished{result, std::move(text)});
    for (auto first = waiting_.begin(); first != waiting_.end() && first->first == next_;
         first = waiting_.erase(first)) {
        write(first->second);
        ++next_;
        shown_ = 0;
    }
}

void ResultWriter::write(const Finished& finished) {
    const GenerationResult& result = finished.result;
    if (config_.output == GenerateOutput::text) {
        show(result.prompt_idx, finished.text);
        out_ << std::endl;
        return;
    }
    Json line(Json::Object{{"index", result.prompt_idx},
                           {"prompt", valid_utf8(prompts_[static_cast<std::size_t>(result.prompt_idx)].text)},
                           {"text", valid_utf8(finished.text)},
                           {"tokens", json_array(result.tokens)},
                           {"logprobs", numbers(result.logprobs)}});
    if (config_.prompt_logprobs) line["prompt_logprobs"] = numbers(result.prompt_logprobs);
    line["finish_reason"] = name_of(result.finish);
    out_ << line.text() << std::endl;
}

void ResultWriter::flush() {
    if (!out_.flush()) throw IoError("generate: the results could not all be written; is the disk full?");
}

}  // namespace sy::runtime
