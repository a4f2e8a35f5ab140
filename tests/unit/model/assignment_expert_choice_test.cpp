// Expert choice: every expert takes its tokens from the global batch.
#include <catch2/catch.hpp>

#include <algorithm>
#include <numeric>

#include "tests/unit/model/assignment_support.hpp"

using namespace sy;
using namespace sy::model;
using test::choose;
using test::Chosen;
using test::router_config;
using test::TestMatrix;

namespace {

std::size_t at(index_t i) {
    return static_cast<std::size_t>(i);
}

/// By full sorts in double: experts sort tokens, tokens sort their experts.
Chosen by_sorting(const TestMatrix& logits, index_t kappa) {
    const MatrixView<const float> x = logits.view();
    std::vector<std::vector<double>> score(at(x.rows), std::vector<double>(at(x.cols)));
    for (index_t t = 0; t < x.rows; ++t) {
        double sum = 0.0;
        for (index_t e = 0; e < x.cols; ++e) sum += std::exp(static_cast<double>(x(t, e)));
        for (index_t e = 0; e < x.cols; ++e)
            score[at(t)][at(e)] = std::exp(static_cast<double>(x(t, e))) / sum;
    }
    Chosen result{std::vector<std::vector<std::int32_t>>(at(x.rows)),
                  std::vector<std::vector<float>>(at(x.rows))};
    for (index_t e = 0; e < x.cols; ++e) {
        std::vector<index_t> order(at(x.rows));
        std::iota(order.begin(), order.end(), 0);
        std::ranges::stable_sort(
            order, [&](index_t a, index_t b) { return score[at(a)][at(e)] > score[at(b)][at(e)] + 1e-9; });
        for (index_t i = 0; i < kappa; ++i)
            result.experts[at(order[at(i)])].push_back(static_cast<std::int32_t>(e));
    }
    for (std::size_t t = 0; t < result.experts.size(); ++t) {
        std::ranges::stable_sort(result.experts[t], [&](std::int32_t a, std::int32_t b) {
            return score[t][at(a)] > score[t][at(b)] + 1e-9;
        });
        for (const std::int32_t e : result.experts[t])
            result.weights[t].push_back(static_cast<float>(score[t][at(e)]));
    }
    return result;
}

/// Three rows over and over, in which experts 2i and 2i + 1 are equal.
TestMatrix with_ties(index_t tokens, index_t experts) {
    const TestMatrix kinds(3, experts, 17, 1.0F);
    TestMatrix logits(tokens, experts);
    for (index_t t = 0; t < tokens; ++t) {
        for (index_t e = 0; e < experts; ++e) logits.values[at(t * experts + e)] = kinds.view()(t % 3, e / 2);
    }
    return logits;
}

}  // namespace

TEST_CASE("expert_choice: a case by hand", "[unit]") {
    TestMatrix logits(4, 2);
    // Expert 0 likes tokens 2 and 0, expert 1 tokens 1 and 3; token 2 is most certain.
    const float row[] = {1.0F, 0.0F, 0.0F, 2.0F, 3.0F, 0.0F, 0.0F, 1.5F};
    std::copy(std::begin(row), std::end(row), logits.values.begin());
    const Chosen chosen = choose(router_config("expert_choice", 2, 1), logits, 1, Use::train);
    CHECK(chosen.experts == std::vector<std::vector<std::int32_t>>{{0}, {1}, {0}, {1}});
    CHECK(chosen.weights[2][0] == Approx(1.0 / (1.0 + std::exp(-3.0))));
    // All scores equal: the lower tokens.
    const TestMatrix equal(5, 3);
    CHECK(choose(router_config("expert_choice", 3, 1), equal, 1, Use::evaluate).experts ==
          std::vector<std::vector<std::int32_t>>{{0, 1, 2}, {0, 1, 2}, {}, {}, {}});
}

TEST_CASE("expert_choice: agrees with full sorts, on every layout", "[unit]") {
    for (const auto& [tokens, experts, per_token] : {std::tuple{index_t{1}, index_t{1}, index_t{1}},
                                                     {7, 3, 1},
                                                     {7, 3, 3},
                                                     {5, 8, 2},
                                                     {97, 6, 2},
                                                     {200, 16, 3}}) {
        const index_t kappa = (tokens * per_token + experts - 1) / experts;
        for (const bool ties : {false, true}) {
            INFO(tokens << " tokens, " << experts << " experts, " << per_token << " a token, ties " << ties);
            const TestMatrix logits =
                ties ? with_ties(tokens, experts) : TestMatrix(tokens, experts, 11, 2.0F);
            const Chosen expected = by_sorting(logits, kappa);
            const MoeConfig config = router_config("expert_choice", experts, per_token);
            const Chosen one = choose(config, logits, 1, Use::train);
            REQUIRE(one.experts == expected.experts);
            for (std::size_t t = 0; t < one.weights.size(); ++t) {
                for (std::size_t j = 0; j < one.weights[t].size(); ++j)
                    REQUIRE(one.weights[t][j] == Approx(expected.weights[t][j]).epsilon(1e-5));
            }
            for (const index_t count : one.load(experts)) CHECK(count == kappa);
            for (const int ranks : {2, 3, 4, 8}) CHECK(choose(config, logits, ranks, Use::evaluate) == one);
        }
    }
}

TEST_CASE("expert_choice: scores of every size, also 0", "[unit]") {
    TestMatrix logits(64, 4, 5, 1.0F);
    for (std::size_t i = 0; i < logits.values.size(); ++i) logits.values[i] *= i % 7 == 0 ? 200.0F : 1.0F;
    const MoeConfig config = router_config("expert_choice", 4, 2);
    const Chosen one = choose(config, logits, 1, Use::train);
    for (const index_t count : one.load(4)) CHECK(count == 32);
    CHECK(choose(config, logits, 3, Use::train) == one);
}

TEST_CASE("expert_choice: what it cannot do is refused with a remedy", "[unit]") {
    const auto has = [](const std::vector<std::string>& problems, const char* text) {
        return std::ranges::any_of(
            problems, [&](const std::string& problem) { return problem.find(text) != std::string::npos; });
    };
    ModelConfig model;
    MoeConfig moe = router_config("expert_choice", 8, 2);
    CHECK(has(model_problems(model, moe), "moe.allow_noncausal=yes"));
    model.architecture = Architecture::encoder_decoder;
    CHECK(has(model_problems(model, moe), "moe.allow_noncausal=yes"));
    model.architecture = Architecture::encoder;
    CHECK_FALSE(has(model_problems(model, moe), "expert_choice"));
    model.architecture = Architecture::decoder;
    moe.allow_noncausal = true;
    CHECK(model_problems(model, moe).empty());
    moe.capacity_factor = 1.0;
    moe.device_capacity = 1.5;
    moe.balance.switch_loss = 0.01;
    moe.score = Score::sigmoid;
    CHECK(has(model_problems(model, moe), "moe.capacity_factor = 1; set it to 0"));
    CHECK(has(model_problems(model, moe), "moe.device_capacity = 1.5; set it to 0"));
    CHECK(has(model_problems(model, moe), "balance.switch_loss = 0.01; set it to 0"));
    CHECK(has(model_problems(model, moe), "set moe.score=softmax"));
    CHECK_THROWS_WITH(choose(router_config("expert_choice", 2, 1), TestMatrix(2, 2), 1, Use::generate),
                      Catch::Contains("cannot generate"));
}
