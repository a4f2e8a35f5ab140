#include <catch2/catch.hpp>

#include <limits>

#include "kernels/core/error.hpp"
#include "runtime/json/json.hpp"
#include "runtime/json/utf8.hpp"

using namespace sy;
using namespace sy::runtime;

TEST_CASE("json: every kind of value reads back as itself, members in their order", "[unit]") {
    const Json value = Json::Object{{"z", nullptr},
                                    {"flag", true},
                                    {"least", std::numeric_limits<std::int64_t>::min()},
                                    {"most", std::numeric_limits<std::uint64_t>::max()},
                                    {"number", 0.1 + 0.2},
                                    {"text", "a \"quote\"\n"},
                                    {"array", Json::Array{1, -0.5, Json::Object{}}}};
    CHECK(value.text() == R"({"z":null,"flag":true,"least":-9223372036854775808,"most":18446744073709551615,)"
                          R"("number":3.0000000000000004E-1,"text":"a \"quote\"\n","array":[1,-5E-1,{}]})");
    CHECK(Json::parse(value.text()) == value);
}

TEST_CASE("json: text that is not UTF-8 is refused, not written", "[unit]") {
    CHECK(Json("caf\u00e9 \u20ac \U0001f600").text() == "\"caf\u00e9 \u20ac \U0001f600\"");
    CHECK_THROWS_WITH(Json(Json::Array{1, "caf\xe9"}).text(),
                      "JSON: 'caf\\xe9' is not UTF-8, as all of JSON is");
    CHECK_THROWS_AS(Json(Json::Object{{"\xff", 1}}).text(), IoError);
}

TEST_CASE("utf8: what RFC 3629 allows and nothing else", "[unit]") {
    for (const char* const good : {"", "a\n", "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xed\x9f\xbf",
                                   "\xee\x80\x80", "\xef\xbf\xbf", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf"})
        CHECK(is_utf8(good));
    // Continuations alone, overlong forms, surrogates, beyond U+10FFFF, cut short.
    for (const char* const bad : {"\x80", "\xbf", "\xc0\x80", "\xc1\xbf", "\xe0\x9f\xbf", "\xed\xa0\x80",
                                  "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff", "\xc3",
                                  "\xe2\x82", "\xf0\x9f\x98", "\xc3(", "\xe2(\xac", "\xe2\x82(", "a\xe9"}) {
        INFO(escaped(bad));
        CHECK_FALSE(is_utf8(bad));
    }
    CHECK(escaped("a\n\xe9~") == "a\\x0a\\xe9~");
}

TEST_CASE("json: a value asked for as another kind is refused with what it is", "[unit]") {
    const Json value = Json::parse(R"({"step":3,"text":"x","loss":2.5})");
    CHECK(value.at("step").as_number() == 3.0);
    CHECK(value.at("step").as_natural() == 3);
    CHECK_THROWS_WITH(value.at("text").as_whole(), "JSON: expected a whole number, found \"x\"");
    CHECK_THROWS_AS(value.at("loss").as_whole(), IoError);
    CHECK_THROWS_AS(Json(-1).as_natural(), IoError);
    CHECK_THROWS_WITH(value.at("steps"), Catch::StartsWith("JSON: expected an object with \"steps\", found"));
    CHECK(value.find("steps") == nullptr);
    CHECK(value.at("step").find("step") == nullptr);
}

TEST_CASE("json: text that is cut short or goes on after the value is refused", "[unit]") {
    CHECK_THROWS_AS(Json::parse(R"({"step":2,"lo)"), IoError);
    CHECK_THROWS_AS(Json::parse("{} {}"), IoError);
    CHECK_THROWS_AS(Json::parse(""), IoError);
}
