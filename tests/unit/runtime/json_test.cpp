#include <catch2/catch.hpp>

#include <limits>

#include "kernels/core/error.hpp"
#include "runtime/json/json.hpp"

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
