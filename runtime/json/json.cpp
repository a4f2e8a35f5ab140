#include "runtime/json/json.hpp"

#include <boost/json.hpp>
#include <utility>

#include "kernels/core/error.hpp"
#include "runtime/json/utf8.hpp"

namespace sy::runtime {
namespace {

namespace json = boost::json;

template <class... Bodies>
struct Overloaded : Bodies... {
    using Bodies::operator()...;
};
template <class... Bodies>
Overloaded(Bodies...) -> Overloaded<Bodies...>;

[[noreturn]] void fail(const char* expected, const Json& found) {
    throw IoError(concat("JSON: expected ", expected, ", found ", found.text().substr(0, 60)));
}

}  // namespace

struct Json::Library {
    /// @throws IoError for a text that is not UTF-8, which readers of JSON would stumble over
    static const std::string& checked(const std::string& text) {
        if (!is_utf8(text))
            throw IoError(concat("JSON: '", escaped(text), "' is not UTF-8, as all of JSON is"));
        return text;
    }
    static json::value write(const Json& value) {
        return std::visit(Overloaded{[](const auto& plain) { return json::value(plain); },
                                     [](const std::string& text) { return json::value(checked(text)); },
                                     [](const Array& array) { return write(array); },
                                     [](const Object& object) { return write(object); }},
                          value.value_);
    }
    static json::value write(const Array& values) {
        json::array array;
        array.reserve(values.size());
        for (const Json& element : values) array.push_back(write(element));
        return array;
    }
    static json::value write(const Object& members) {
        json::object object;
        object.reserve(members.size());
        for (const Member& member : members) object.emplace(checked(member.name), write(member.value));
        return object;
    }

    static Json read(const json::value& value) {
        switch (value.kind()) {
            case json::kind::null:
                break;
            case json::kind::bool_:
                return value.get_bool();
            case json::kind::int64:
                return value.get_int64();
            case json::kind::uint64:
                return value.get_uint64();
            case json::kind::double_:
                return value.get_double();
            case json::kind::string:
                return std::string(value.get_string());
            case json::kind::array:
                return read(value.get_array());
            case json::kind::object:
                return read(value.get_object());
        }
        return nullptr;
    }
    static Json read(const json::array& values) {
        Array array;
        array.reserve(values.size());
        for (const json::value& element : values) array.push_back(read(element));
        return array;
    }
    static Json read(const json::object& members) {
        Object object;
        object.reserve(members.size());
        for (const json::key_value_pair& member : members)
            object.push_back({std::string(member.key()), read(member.value())});
        return object;
    }
};

Json::Json() : value_(nullptr) {}
Json::Json(std::nullptr_t) : value_(nullptr) {}
Json::Json(bool value) : value_(value) {}
Json::Json(double value) : value_(value) {}
Json::Json(const char* text) : value_(std::string(text)) {}
Json::Json(std::string_view text) : value_(std::string(text)) {}
Json::Json(std::string text) : value_(std::move(text)) {}
Json::Json(Array values) : value_(std::move(values)) {}
Json::Json(Object members) : value_(std::move(members)) {}
Json::Json(Whole value) : value_(value.value) {}
Json::Json(Natural value) : value_(value.value) {}
Json::Json(const Json& other) = default;
Json::Json(Json&& other) noexcept = default;
Json& Json::operator=(const Json& other) = default;
Json& Json::operator=(Json&& other) noexcept = default;
Json::~Json() = default;

Json Json::parse(std::string_view text) {
    boost::system::error_code broken;
    const json::value value = json::parse(json::string_view(text.data(), text.size()), broken);
    if (broken) throw IoError(concat("JSON: ", broken.message()));
    return Library::read(value);
}

std::string Json::text() const {
    return json::serialize(Library::write(*this));
}

bool Json::is_null() const {
    return std::holds_alternative<std::nullptr_t>(value_);
}

bool Json::is_bool() const {
    return std::holds_alternative<bool>(value_);
}

bool Json::is_whole() const {
    return std::holds_alternative<std::int64_t>(value_);
}

bool Json::is_number() const {
    return is_whole() || std::holds_alternative<std::uint64_t>(value_) ||
           std::holds_alternative<double>(value_);
}

bool Json::is_array() const {
    return std::holds_alternative<Array>(value_);
}

bool Json::is_object() const {
    return std::holds_alternative<Object>(value_);
}

bool Json::as_bool() const {
    if (!is_bool()) fail("true or false", *this);
    return std::get<bool>(value_);
}

std::int64_t Json::as_whole() const {
    if (!is_whole()) fail("a whole number", *this);
    return std::get<std::int64_t>(value_);
}

std::uint64_t Json::as_natural() const {
    if (const auto* const natural = std::get_if<std::uint64_t>(&value_)) return *natural;
    if (!is_whole() || as_whole() < 0) fail("a whole number of at least 0", *this);
    return static_cast<std::uint64_t>(as_whole());
}

double Json::as_number() const {
    if (const auto* const number = std::get_if<double>(&value_)) return *number;
    if (const auto* const natural = std::get_if<std::uint64_t>(&value_)) return static_cast<double>(*natural);
    if (!is_whole()) fail("a number", *this);
    return static_cast<double>(as_whole());
}

const std::string& Json::as_string() const {
    const auto* const text = std::get_if<std::string>(&value_);
    if (text == nullptr) fail("text", *this);
    return *text;
}

const Json::Array& Json::as_array() const {
    if (!is_array()) fail("an array", *this);
    return std::get<Array>(value_);
}

Json::Array& Json::as_array() {
    if (!is_array()) fail("an array", *this);
    return std::get<Array>(value_);
}

const Json::Object& Json::as_object() const {
    if (!is_object()) fail("an object", *this);
    return std::get<Object>(value_);
}

Json::Object& Json::as_object() {
    if (!is_object()) fail("an object", *this);
    return std::get<Object>(value_);
}

const Json* Json::find(std::string_view name) const& {
    if (!is_object()) return nullptr;
    for (const Member& member : as_object()) {
        if (member.name == name) return &member.value;
    }
    return nullptr;
}

const Json& Json::at(std::string_view name) const {
    const Json* const value = find(name);
    if (value == nullptr) fail(concat("an object with \"", name, "\"").c_str(), *this);
    return *value;
}

Json& Json::operator[](std::string_view name) {
    if (is_null()) value_ = Object{};
    Object& members = as_object();
    for (Member& member : members) {
        if (member.name == name) return member.value;
    }
    members.push_back({std::string(name), nullptr});
    return members.back().value;
}

bool operator==(const Json& left, const Json& right) {
    return left.value_ == right.value_;
}

}  // namespace sy::runtime
