// BASE: balanced assignments of the highest sum, against an exact solver.
#include <catch2/catch.hpp>

#include <algorithm>
#include <limits>

#include "model/moe/router/auction.hpp"
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

index_t slots_of(index_t expert, index_t tokens, index_t experts) {
    return tokens / experts + (expert < tokens % experts ? 1 : 0);
}

/// Highest sum of scores, exactly: the Hungarian method by shortest augmenting paths, in double, over tokens and slots.
double best_sum(const TestMatrix& scores) {
    const index_t size = scores.rows;
    std::vector<index_t> expert_of_slot;
    for (index_t e = 0; e < scores.cols; ++e)
        expert_of_slot.insert(expert_of_slot.end(), at(slots_of(e, size, scores.cols)), e);
    const auto cost = [&](index_t token, index_t slot) {
        return -static_cast<double>(scores.view()(token, expert_of_slot[at(slot)]));
    };
    constexpr double kInfinity = std::numeric_limits<double>::infinity();
    // Places 1 .. size; 0 is the root of the search.
    std::vector<double> of_token(at(size + 1), 0.0);
    std::vector<double> of_slot(at(size + 1), 0.0);
    std::vector<index_t> token_at(at(size + 1), 0);
    std::vector<index_t> previous(at(size + 1), 0);
    for (index_t token = 1; token <= size; ++token) {
        token_at[0] = token;
        index_t slot = 0;
        std::vector<double> distance(at(size + 1), kInfinity);
        std::vector<bool> visited(at(size + 1), false);
        do {
            visited[at(slot)] = true;
            const index_t row = token_at[at(slot)];
            double delta = kInfinity;
            index_t next = 0;
            for (index_t j = 1; j <= size; ++j) {
                if (visited[at(j)]) continue;
                const double reduced = cost(row - 1, j - 1) - of_token[at(row)] - of_slot[at(j)];
                if (reduced < distance[at(j)]) {
                    distance[at(j)] = reduced;
                    previous[at(j)] = slot;
                }
                if (distance[at(j)] < delta) {
                    delta = distance[at(j)];
                    next = j;
                }
            }
            for (index_t j = 0; j <= size; ++j) {
                if (visited[at(j)]) {
                    of_token[at(token_at[at(j)])] += delta;
                    of_slot[at(j)] -= delta;
                } else {
                    distance[at(j)] -= delta;
                }
            }
            slot = next;
        } while (token_at[at(slot)] != 0);
        for (; slot != 0; slot = previous[at(slot)]) token_at[at(slot)] = token_at[at(previous[at(slot)])];
    }
    double sum = 0.0;
    for (index_t slot = 1; slot <= size; ++slot) sum -= cost(token_at[at(slot)] - 1, slot - 1);
    return sum;
}

double sum_of(const TestMatrix& scores, std::span<const std::int32_t> expert) {
    double sum = 0.0;
    for (index_t t = 0; t < scores.rows; ++t) sum += static_cast<double>(scores.view()(t, expert[at(t)]));
    return sum;
}

void check_balanced(std::span<const std::int32_t> expert, index_t experts) {
    for (index_t e = 0; e < experts; ++e) {
        CHECK(std::ranges::count(expert, static_cast<std::int32_t>(e)) ==
              slots_of(e, static_cast<index_t>(expert.size()), experts));
    }
}

enum class Kind { random, one_expert, equal, large, equal_rows, near_equal_rows, whole_numbers, mixed_signs };

TestMatrix instance(Kind kind, index_t tokens, index_t experts, std::uint64_t seed) {
    TestMatrix scores(tokens, experts, seed, 1.0F);
    for (index_t t = 0; t < tokens; ++t) {
        for (index_t e = 0; e < experts; ++e) {
            float& value = scores.values[at(t * experts + e)];
            const float of_expert = scores.values[at(e)];
            if (kind == Kind::one_expert) value = 0.1F * value + (e == 1 ? 10.0F : 0.0F);
            if (kind == Kind::equal) value = 0.25F;
            if (kind == Kind::large) value *= 1e30F;
            if (kind == Kind::equal_rows) value = of_expert;
            if (kind == Kind::near_equal_rows) value = of_expert + (t > 0 ? 1e-3F * value : 0.0F);
            if (kind == Kind::whole_numbers) value = std::floor(2.0F * value);
            if (kind == Kind::mixed_signs) value += e % 2 == 0 ? 1000.0F : -1000.0F;
        }
    }
    return scores;
}

}  // namespace

TEST_CASE("auction: the solver of the tests finds known optima", "[unit]") {
    TestMatrix scores(3, 3);
    const float values[] = {7.0F, 5.0F, 11.0F, 5.0F, 4.0F, 1.0F, 9.0F, 3.0F, 2.0F};
    std::copy(std::begin(values), std::end(values), scores.values.begin());
    CHECK(best_sum(scores) == 11.0 + 4.0 + 9.0);
    CHECK(sum_of(scores, balanced_assignment(scores.view())) == 24.0);
}

TEST_CASE("auction: every expert is full and the sum within 0.1 % of the optimum", "[unit]") {
    for (const Kind kind : {Kind::random, Kind::one_expert, Kind::equal, Kind::large, Kind::equal_rows,
                            Kind::near_equal_rows, Kind::whole_numbers, Kind::mixed_signs}) {
        for (const auto& [tokens, experts] :
             {std::pair{index_t{1}, index_t{1}}, {2, 5}, {24, 4}, {50, 7}, {9, 1}, {128, 32}, {256, 8}}) {
            INFO("kind " << static_cast<int>(kind) << ", " << tokens << " tokens, " << experts << " experts");
            const TestMatrix scores =
                instance(kind, tokens, experts, static_cast<std::uint64_t>(31 + tokens));
            const std::vector<std::int32_t> expert = balanced_assignment(scores.view());
            REQUIRE(static_cast<index_t>(expert.size()) == tokens);
            check_balanced(expert, experts);
            const double best = best_sum(scores);
            CHECK(sum_of(scores, expert) >= best - 1e-3 * std::fabs(best));
            CHECK(sum_of(scores, expert) <= best + 1e-9 * std::fabs(best));
        }
    }
}

TEST_CASE("auction: offsets of tokens and of experts do not loosen it", "[unit]") {
    // Multiples of 2^-13 beside whole numbers to 2^10, so that every float is exact.
    constexpr index_t kTokens = 256;
    constexpr index_t kExperts = 8;
    TestMatrix scores(kTokens, kExperts, 17, 1.0F);
    for (float& score : scores.values) score = std::floor(score * 512.0F) / 8192.0F;
    const double best = best_sum(scores);
    REQUIRE(best > 1.0);
    for (const bool of_tokens : {true, false}) {
        TestMatrix moved = scores;
        for (index_t t = 0; t < kTokens; ++t) {
            for (index_t e = 0; e < kExperts; ++e)
                moved.values[at(t * kExperts + e)] += of_tokens ? 1024.0F : static_cast<float>(128 * e);
        }
        const std::vector<std::int32_t> expert = balanced_assignment(moved.view());
        check_balanced(expert, kExperts);
        const double gap = best - sum_of(scores, expert);
        INFO((of_tokens ? "tokens" : "experts") << ": gap " << gap << " of " << best);
        CHECK(gap <= 1e-4 * best + 0x1p-22 * 1024.0 * kTokens);
    }
}

TEST_CASE("auction: nothing to assign, and scores that are no numbers", "[unit]") {
    CHECK(balanced_assignment(TestMatrix(0, 4).view()).empty());
    TestMatrix scores(8, 2, 3, 1.0F);
    scores.values[1] = std::numeric_limits<float>::quiet_NaN();
    scores.values[4] = std::numeric_limits<float>::infinity();
    scores.values[7] = -std::numeric_limits<float>::infinity();
    const std::vector<std::int32_t> expert = balanced_assignment(scores.view());
    check_balanced(expert, 2);
    CHECK(expert[0] == 0);
    CHECK(expert[2] == 0);
    CHECK(expert[3] == 0);
}

TEST_CASE("base: balanced over the global batch in training, the highest logit otherwise", "[unit]") {
    const MoeConfig config = router_config("base", 6, 1);
    const TestMatrix logits = instance(Kind::one_expert, 93, 6, 8);
    const Chosen one = choose(config, logits, 1, Use::train);
    const std::vector<std::int32_t> alone = balanced_assignment(logits.view());
    for (std::size_t t = 0; t < alone.size(); ++t) {
        REQUIRE(one.experts[t] == std::vector<std::int32_t>{alone[t]});
        const double logit = static_cast<double>(logits.values[t * 6 + at(alone[t])]);
        REQUIRE(one.weights[t][0] == Approx(1.0 / (1.0 + std::exp(-logit))).epsilon(1e-6));
    }
    const Chosen greedy = choose(config, logits, 1, Use::evaluate);
    CHECK(greedy.load(6) == std::vector<index_t>{0, 93, 0, 0, 0, 0});
    CHECK(choose(config, logits, 1, Use::generate) == greedy);
    for (const int ranks : {2, 3, 4, 8}) {
        CHECK(choose(config, logits, ranks, Use::train) == one);
        CHECK(choose(config, logits, ranks, Use::evaluate) == greedy);
    }
    // Fewer tokens than ranks and experts.
    const TestMatrix few(3, 6, 4, 1.0F);
    CHECK(choose(config, few, 8, Use::train) == choose(config, few, 1, Use::train));
    CHECK(choose(config, few, 8, Use::train).load(6) == std::vector<index_t>{1, 1, 1, 0, 0, 0});
}

TEST_CASE("base: what it cannot do is refused with a remedy", "[unit]") {
    MoeConfig moe = router_config("base", 8, 1);
    CHECK(model_problems({}, moe).empty());
    moe.top_k = 2;
    moe.balance.switch_loss = 0.5;
    const std::vector<std::string> problems = model_problems({}, moe);
    REQUIRE(problems.size() == 2);
    CHECK_THAT(problems[0], Catch::Contains("balance.switch_loss = 0.5; set it to 0"));
    CHECK_THAT(problems[1], Catch::Contains("moe.top_k = 2; set it to 1"));
}

TEST_CASE("global routers: options of other rules are refused with a remedy", "[unit]") {
    for (const char* router : {"expert_choice", "base", "sinkhorn", "reinforce"}) {
        MoeConfig moe = router_config(router, 8, 1);
        moe.allow_noncausal = true;
        CHECK(model_problems({}, moe).empty());
        moe.groups = 4;
        moe.group_limit = 2;
        moe.random_second = true;
        moe.balance.bias_rate = 0.5;
        std::string all;
        for (const std::string& problem : model_problems({}, moe)) all += problem + "\n";
        INFO(router);
        CHECK_THAT(all, Catch::Contains("moe.group_limit = 2; set it to 0"));
        CHECK_THAT(all, Catch::Contains("moe.random_second=no"));
        CHECK_THAT(all, Catch::Contains("balance.bias_rate = 0.5; set it to 0"));
    }
    MoeConfig moe = router_config("top_k", 8, 1);
    moe.balance.entropy_bonus = 0.1;
    REQUIRE(model_problems({}, moe).size() == 1);
    CHECK_THAT(model_problems({}, moe)[0], Catch::Contains("moe.router=reinforce"));
}
