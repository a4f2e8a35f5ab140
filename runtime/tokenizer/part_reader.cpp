#include "runtime/tokenizer/part_reader.hpp"

#include <algorithm>

#include "kernels/core/error.hpp"
#include "runtime/json/utf8.hpp"

namespace sy::runtime {
namespace {

constexpr std::size_t kMostShown = 20;

bool is_text(const Json& value) {
    return !value.is_null() && !value.is_bool() && !value.is_number() && !value.is_array() &&
           !value.is_object();
}

std::string within(const PartReader::Part& part, std::string_view name) {
    return part.where.empty() ? std::string(name) : concat(part.where, ".", escaped(name));
}

}  // namespace

void PartReader::finish(const std::string& name) const {
    if (problems_.empty()) return;
    std::string all;
    for (std::size_t i = 0; i < std::min(problems_.size(), kMostShown); ++i)
        all += concat(i == 0 ? "" : "\n", name, ": ", problems_[i]);
    if (problems_.size() > kMostShown)
        all += concat("\n", name, ": and ", problems_.size() - kMostShown, " problems more");
    throw IoError(all);
}

std::optional<PartReader::Part> PartReader::member(const Part& part, std::string_view name) {
    const Json* const value = part.value.find(name);
    if (value == nullptr || value->is_null()) return std::nullopt;
    return Part{*value, within(part, name)};
}

std::vector<PartReader::Part> PartReader::elements(const Part& part, std::string_view name) {
    std::vector<Part> all;
    const std::optional<Part> array = member(part, name);
    if (!array) return all;
    if (!array->value.is_array()) {
        problem(concat(array->where, " is no array"));
        return all;
    }
    for (const Json& element : array->value.as_array())
        all.push_back({element, concat(array->where, "[", all.size(), "]")});
    return all;
}

std::string PartReader::type(const Part& part) {
    return text(part, "type");
}

std::string PartReader::text(const Part& part, std::string_view name) {
    const std::optional<Part> value = member(part, name);
    if (value && is_text(value->value)) return value->value.as_string();
    problem(concat(within(part, name), value ? " is no text" : " is missing"));
    return {};
}

bool PartReader::flag(const Part& part, std::string_view name, bool otherwise) {
    const std::optional<Part> value = member(part, name);
    if (!value) return otherwise;
    if (value->value.is_bool()) return value->value.as_bool();
    problem(concat(value->where, " is neither true nor false"));
    return otherwise;
}

std::int64_t PartReader::whole(const Part& part, std::string_view name, std::int64_t most) {
    const std::optional<Part> value = member(part, name);
    if (value && value->value.is_whole() && value->value.as_whole() >= 0 && value->value.as_whole() <= most)
        return value->value.as_whole();
    problem(concat(within(part, name), " is no whole number from 0 to ", most));
    return 0;
}

void PartReader::only(const Part& part, std::initializer_list<std::string_view> known) {
    if (!part.value.is_object()) {
        problem(concat(part.where.empty() ? "the file" : part.where, " is no object"));
        return;
    }
    for (const Json::Member& entry : part.value.as_object()) {
        if (std::ranges::find(known, entry.name) == known.end())
            problem(concat(within(part, entry.name),
                           " is not supported by this version; remove it if the tokenizer "
                           "does without"));
    }
}

void PartReader::unset(const Part& part, std::string_view name, std::string_view advice) {
    const std::optional<Part> value = member(part, name);
    if (!value) return;
    const Json& held = value->value;
    const bool nothing = (held.is_bool() && !held.as_bool()) ||
                         (held.is_number() && held.as_number() == 0.0) ||
                         (is_text(held) && held.as_string().empty());
    if (!nothing) problem(concat(value->where, " is set, which is not supported; ", advice));
}

}  // namespace sy::runtime
