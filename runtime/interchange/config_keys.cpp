#include "runtime/interchange/config_keys.hpp"

#include "kernels/core/error.hpp"

namespace sy::runtime {

ConfigKeys::ConfigKeys(const Json& object, std::vector<std::string>& problems)
    : object_(object), problems_(problems) {}

bool ConfigKeys::has(std::string_view name) const {
    const Json* const value = object_.find(name);
    return value != nullptr && !value->is_null();
}

const Json* ConfigKeys::find(std::string_view name) {
    seen_.emplace(name);
    return has(name) ? object_.find(name) : nullptr;
}

template <class T, class Read>
T ConfigKeys::read(std::string_view name, const char* expected, T otherwise, const Read& read) {
    const Json* const value = find(name);
    if (value == nullptr) return otherwise;
    try {
        return read(*value);
    } catch (const IoError&) {
        problem(concat(name, " = ", value->text(), ", expected ", expected));
        return otherwise;
    }
}

index_t ConfigKeys::whole(std::string_view name, index_t otherwise) {
    return read(name, "a whole number", otherwise, [](const Json& value) { return value.as_whole(); });
}

double ConfigKeys::number(std::string_view name, double otherwise) {
    return read(name, "a number", otherwise, [](const Json& value) { return value.as_number(); });
}

index_t ConfigKeys::whole(std::string_view name) {
    if (!has(name)) problem(concat(name, " is missing"));
    return whole(name, 1);
}

double ConfigKeys::number(std::string_view name) {
    if (!has(name)) problem(concat(name, " is missing"));
    return number(name, 1.0);
}

bool ConfigKeys::flag(std::string_view name, bool otherwise) {
    return read(name, "true or false", otherwise, [](const Json& value) { return value.as_bool(); });
}

std::string ConfigKeys::text(std::string_view name, const std::string& otherwise) {
    return read(name, "a text", otherwise, [](const Json& value) { return value.as_string(); });
}

std::vector<index_t> ConfigKeys::list(std::string_view name) {
    return read(name, "a list of whole numbers", std::vector<index_t>{}, [](const Json& value) {
        std::vector<index_t> numbers;
        for (const Json& element : value.as_array()) numbers.push_back(element.as_whole());
        return numbers;
    });
}

std::vector<std::string> ConfigKeys::texts(std::string_view name) {
    return read(name, "a list of texts", std::vector<std::string>{}, [](const Json& value) {
        std::vector<std::string> texts;
        for (const Json& element : value.as_array()) texts.push_back(element.as_string());
        return texts;
    });
}

const Json* ConfigKeys::object(std::string_view name) {
    const Json* const value = find(name);
    if (value == nullptr || value->is_object()) return value;
    problem(concat(name, " = ", value->text(), ", expected an object"));
    return nullptr;
}

void ConfigKeys::only(std::string_view name, const Json& value) {
    const Json* const found = find(name);
    if (found == nullptr || *found == value) return;
    const bool same_number =
        found->is_number() && value.is_number() && found->as_number() == value.as_number();
    if (!same_number)
        problem(concat(name, " = ", found->text(), " cannot be expressed here, only ", value.text()));
}

void ConfigKeys::ignore(std::initializer_list<std::string_view> names) {
    seen_.insert(names.begin(), names.end());
}

void ConfigKeys::ignore_usual() {
    ignore({"architectures",
            "model_type",
            "dtype",
            "torch_dtype",
            "transformers_version",
            "use_cache",
            "bos_token_id",
            "eos_token_id",
            "pad_token_id",
            "sep_token_id",
            "pretraining_tp",
            "output_router_logits",
            "_name_or_path",
            "auto_map",
            "_attn_implementation",
            "_experts_implementation",
            "return_dict",
            "output_hidden_states",
            "output_attentions",
            "chunk_size_feed_forward",
            "is_encoder_decoder",
            "id2label",
            "label2id",
            "problem_type",
            "tokenizer_class"});
}

void ConfigKeys::finish() {
    for (const Json::Member& member : object_.as_object()) {
        if (!seen_.contains(member.name) && !member.value.is_null()) {
            problem(concat(member.name, " = ", member.value.text().substr(0, 60),
                           " is not known, and may change results"));
        }
    }
}

}  // namespace sy::runtime
