// From logits to a token, and from tokens to a text with an end.
#include <catch2/catch.hpp>

#include <map>
#include <numeric>

#include "runtime/data/open_tokenizer.hpp"
#include "runtime/generate/continuation.hpp"
#include "runtime/generate/prompts.hpp"
#include "runtime/generate/sampler.hpp"

using namespace sy;
using namespace sy::runtime;

namespace {

/// Nothing but the temperature.
GenerateConfig plain(double temperature = 1.0) {
    GenerateConfig config;
    config.temperature = temperature;
    config.top_p = 1.0;
    return config;
}

/// How many of many evenly spread draws give each token.
std::map<index_t, int> counts(const std::vector<float>& logits, const GenerateConfig& config,
                              const std::vector<std::int32_t>& earlier = {}) {
    std::map<index_t, int> result;
    for (int i = 0; i < 1000; ++i)
        ++result[sample_token(logits, earlier, config, (static_cast<float>(i) + 0.5F) / 1000.0F)];
    return result;
}

/// The tokens that some draw gives.
std::vector<index_t> possible(const std::vector<float>& logits, const GenerateConfig& config,
                              const std::vector<std::int32_t>& earlier = {}) {
    std::vector<index_t> result;
    for (const auto& [id, count] : counts(logits, config, earlier)) result.push_back(id);
    return result;
}

using Possible = std::vector<index_t>;
/// Probabilities 0.4, 0.3, 0.2, 0.1, in another order.
const std::vector<float> kLogits{std::log(0.1F), std::log(0.4F), std::log(0.3F), std::log(0.2F)};

}  // namespace

TEST_CASE("sampler: draws are spread as probabilities are", "[unit]") {
    const std::map<index_t, int> got = counts(kLogits, plain());
    CHECK(std::abs(got.at(0) - 100) <= 1);
    CHECK(std::abs(got.at(1) - 400) <= 1);
    CHECK(std::abs(got.at(2) - 300) <= 1);
    CHECK(std::abs(got.at(3) - 200) <= 1);
    // At half the temperature probabilities are squared: 1 / 30, 16 / 30, 9 / 30, 4 / 30.
    CHECK(std::abs(counts(kLogits, plain(0.5)).at(1) - 533) <= 2);
}

TEST_CASE("sampler: top-k keeps what is equal to the last", "[unit]") {
    GenerateConfig config = plain();
    config.top_k = 2;
    CHECK(possible(kLogits, config) == Possible{1, 2});
    CHECK(possible({1.0F, 3.0F, 1.0F, 0.0F}, config) == Possible{0, 1, 2});
    config.top_k = 9;
    CHECK(possible(kLogits, config) == Possible{0, 1, 2, 3});
}

TEST_CASE("sampler: top-p counts what top-k has left", "[unit]") {
    GenerateConfig config = plain();
    config.top_p = 0.65;
    CHECK(possible(kLogits, config) == Possible{1, 2});
    config.top_p = 0.75;
    CHECK(possible(kLogits, config) == Possible{1, 2, 3});
    // Of 0.4 / 0.7 and 0.3 / 0.7 the first holds 0.57.
    config.top_k = 2;
    config.top_p = 0.55;
    CHECK(possible(kLogits, config) == Possible{1});
    config.top_p = 0.6;
    CHECK(possible(kLogits, config) == Possible{1, 2});
    config.top_p = 0.0;
    CHECK(possible(kLogits, config) == Possible{1});
}

TEST_CASE("sampler: min-p is relative to the likeliest", "[unit]") {
    GenerateConfig config = plain();
    config.min_p = 0.6;
    CHECK(possible(kLogits, config) == Possible{1, 2});
    config.min_p = 0.4;
    CHECK(possible(kLogits, config) == Possible{1, 2, 3});
    config.min_p = 1.0;
    CHECK(possible(kLogits, config) == Possible{1});
}

TEST_CASE("sampler: earlier tokens are penalised once, by their sign", "[unit]") {
    GenerateConfig config = plain(0.0);
    config.repetition_penalty = 2.0;
    const std::vector<float> logits{3.0F, 2.0F, -1.0F, -1.5F};
    CHECK(sample_token(logits, std::vector<std::int32_t>{}, config, 0.5F) == 0);
    CHECK(sample_token(logits, std::vector<std::int32_t>{0}, config, 0.5F) == 1);
    // Twice the penalty would put 3 / 4 below -1 * 2 no more than once does.
    CHECK(sample_token(logits, std::vector<std::int32_t>{0, 0, 1, 1}, config, 0.5F) == 0);
    const std::vector<float> below{-1.0F, -1.5F};
    CHECK(sample_token(below, std::vector<std::int32_t>{0}, config, 0.5F) == 1);
    CHECK(sample_token(below, std::vector<std::int32_t>{0, 99}, config, 0.5F) == 1);
}

TEST_CASE("sampler: the smallest temperatures choose the likeliest token, and one of those that are tied",
          "[unit]") {
    for (const double temperature : {1e-3, 1e-40, 1e-300, 5e-324}) {
        const GenerateConfig config = plain(temperature);
        CHECK(possible({0.0F, 3.0F, 2.0F}, config) == Possible{1});
        CHECK(possible({3.0F, 0.0F, 3.0F}, config) == Possible{0, 2});
    }
    CHECK(possible({3.0F, 0.0F, 3.0F}, plain(0.0)) == Possible{0});
}

TEST_CASE("sampler: a model whose logits are not finite writes nothing", "[unit]") {
    for (const double temperature : {0.0, 0.8}) {
        for (const float bad : {NAN, INFINITY, -INFINITY}) {
            CHECK_THROWS_WITH(sample_token(std::vector<float>{0.0F, bad, 1.0F}, {}, plain(temperature), 0.5F),
                              Catch::Contains("token 1 is not finite"));
        }
    }
}

TEST_CASE("sampler: a draw depends on seed, prompt and position", "[unit]") {
    const std::vector<float> logits(1000, 0.0F);
    GenerateConfig config = plain();
    const auto drawn = [&](index_t prompt, index_t position) {
        return sample_token_at(logits, {}, config, {prompt, position});
    };
    const index_t first = drawn(0, 0);
    CHECK(drawn(0, 0) == first);
    CHECK(drawn(0, 1) != first);
    CHECK(drawn(1, 0) != first);
    config.seed = 2;
    CHECK(drawn(0, 0) != first);
}

TEST_CASE("sampler: log-probabilities are those of the softmax", "[unit]") {
    CHECK(log_probability(kLogits, 2) == Approx(std::log(0.3)).margin(1e-6));
    CHECK(log_probability(std::vector<float>{1000.0F, 0.0F}, 0) == Approx(0.0));
}

TEST_CASE("continuation: a text ends before the first stop string, wherever tokens are cut", "[unit]") {
    const auto tokenizer = make_tokenizer("bytes");
    const std::vector<std::string> stops{"END", "\n\n"};
    Continuation text(*tokenizer, tokenizer->encode("prompt"), stops);
    std::string settled;
    bool stopped = false;
    for (const std::int32_t id : tokenizer->encode("an E\nEND")) {
        CHECK(!stopped);
        stopped = text.add(id);
        const std::string now = text.text().substr(0, text.num_settled());
        // What is shown is never taken back.
        CHECK(now.starts_with(settled));
        settled = now;
    }
    CHECK(stopped);
    CHECK(text.text() == "an E\n");
}

TEST_CASE("continuation: what is shown is whole characters that begin no stop string", "[unit]") {
    const auto tokenizer = make_tokenizer("bytes");
    const std::vector<std::string> stops{"\xc3\xa9!"};
    Continuation text(*tokenizer, {}, stops);
    std::vector<std::size_t> settled;
    for (const std::int32_t id : tokenizer->encode("a\xe2\x82\xac\xc3\xa9.\xff")) {
        text.add(id);
        settled.push_back(text.num_settled());
    }
    CHECK(settled == std::vector<std::size_t>{1, 1, 1, 4, 4, 4, 7, 8});
}

TEST_CASE("prompts: stop strings are one text or a JSON array of texts", "[unit]") {
    CHECK(stop_strings("").empty());
    CHECK(stop_strings("User:") == std::vector<std::string>{"User:"});
    CHECK(stop_strings(R"(["\n", "User:"])") == std::vector<std::string>{"\n", "User:"});
    CHECK_THROWS_WITH(stop_strings("[1]"), Catch::Contains("generate.stop = [1]"));
    CHECK_THROWS_WITH(stop_strings(R"([""])"), Catch::Contains("one of them is empty"));
    CHECK_THROWS_WITH(stop_strings("[broken"), Catch::Contains("a JSON array of strings"));
}
