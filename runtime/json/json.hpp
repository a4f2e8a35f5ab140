#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

/// JSON as a value. The library that reads and writes its text is named in json.cpp alone: its headers take longer to
/// compile than most of our sources.
namespace sy::runtime {

class Json {
  public:
    struct Member;
    using Array = std::vector<Json>;
    using Object = std::vector<Member>;  ///< in the order they were added

    Json();  ///< null
    Json(std::nullptr_t);
    Json(bool value);
    Json(double value);
    Json(const char* text);
    Json(std::string_view text);
    Json(std::string text);
    Json(Array values);
    Json(Object members);
    template <std::signed_integral T>
    Json(T value) : Json(Whole{value}) {}
    template <std::unsigned_integral T>
    Json(T value) : Json(Natural{value}) {}
    Json(const Json& other);
    Json(Json&& other) noexcept;
    Json& operator=(const Json& other);
    Json& operator=(Json&& other) noexcept;
    ~Json();

    /// @throws IoError where the text is no JSON
    static Json parse(std::string_view text);
    /// The value as text without blanks and line ends. Numbers read back to the same value. @throws IoError where a
    /// text is not UTF-8
    std::string text() const;

    bool is_null() const;
    bool is_bool() const;
    bool is_whole() const;  ///< a number without fraction that an int64 holds
    bool is_number() const;
    bool is_array() const;
    bool is_object() const;

    /// The value, @throws IoError where it is of another kind or out of range.
    bool as_bool() const;
    std::int64_t as_whole() const;
    std::uint64_t as_natural() const;
    double as_number() const;
    const std::string& as_string() const;
    const Array& as_array() const;
    Array& as_array();
    const Object& as_object() const;
    Object& as_object();

    /// A member of an object, or null where it has none or this is no object.
    const Json* find(std::string_view name) const&;
    /// The member would be gone before it could be looked at.
    const Json* find(std::string_view name) && = delete;
    /// A member of an object. @throws IoError where there is none
    const Json& at(std::string_view name) const;
    /// A member of an object, added as null where there is none. Null becomes an object.
    Json& operator[](std::string_view name);

    friend bool operator==(const Json& left, const Json& right);

  private:
    struct Library;  ///< to and from the library's own values
    struct Whole {
        std::int64_t value;
    };
    struct Natural {
        std::uint64_t value;
    };
    explicit Json(Whole value);
    explicit Json(Natural value);

    std::variant<std::nullptr_t, bool, std::int64_t, std::uint64_t, double, std::string, Array, Object>
        value_;
};

struct Json::Member {
    std::string name;
    Json value;

    friend bool operator==(const Member& left, const Member& right) = default;
};

/// The elements of a range as an array.
template <class Range>
Json::Array json_array(const Range& range) {
    return Json::Array(range.begin(), range.end());
}

}  // namespace sy::runtime
