// Sinkhorn: balanced plans against an independent solution in double.
#include <catch2/catch.hpp>

#include <algorithm>
#include <numeric>

#include "model/moe/router/sinkhorn.hpp"
#include "tests/unit/model/assignment_support.hpp"

using namespace sy;
using namespace sy::model;
using test::choose;
using test::Chosen;
using test::router_config;
using test::TestMatrix;
using test::TestSession;

namespace {

std::size_t at(index_t i) {
    return static_cast<std::size_t>(i);
}

std::vector<double> log_factors(const TestMatrix& logits, int ranks) {
    std::vector<double> factors;
    comm::LocalFabric(ranks).run([&](comm::Communicator& world) {
        TestSession session(world.rank() % 2 + 1);
        const Range mine = part_of(logits.rows, ranks, world.rank());
        const std::vector<double> own =
            sinkhorn_log_factors(logits.view().rows_of(mine), logits.rows, world, session.context);
        if (world.rank() == ranks - 1) factors = own;
    });
    return factors;
}

/// Rows of the plan, from its column factors.
std::vector<double> plan_of(const TestMatrix& logits, std::span<const double> log_factor) {
    std::vector<double> plan(logits.values.size());
    for (index_t t = 0; t < logits.rows; ++t) {
        double sum = 0.0;
        for (index_t e = 0; e < logits.cols; ++e) {
            double& entry = plan[at(t * logits.cols + e)];
            entry = std::exp(static_cast<double>(logits.view()(t, e)) + log_factor[at(e)]);
            sum += entry;
        }
        for (index_t e = 0; e < logits.cols; ++e) plan[at(t * logits.cols + e)] /= sum;
    }
    return plan;
}

/// The one balanced plan, by alternating logarithmic scalings of both sides until nothing moves.
std::vector<double> solve(const TestMatrix& logits) {
    std::vector<double> row(at(logits.rows), 0.0);
    std::vector<double> column(at(logits.cols), 0.0);
    const auto log_sum = [](const std::vector<double>& terms) {
        const double highest = *std::ranges::max_element(terms);
        double sum = 0.0;
        for (const double term : terms) sum += std::exp(term - highest);
        return highest + std::log(sum);
    };
    const double share = std::log(static_cast<double>(logits.rows) / static_cast<double>(logits.cols));
    for (int round = 0; round < 3000; ++round) {
        for (index_t t = 0; t < logits.rows; ++t) {
            std::vector<double> terms;
            for (index_t e = 0; e < logits.cols; ++e)
                terms.push_back(static_cast<double>(logits.view()(t, e)) + column[at(e)]);
            row[at(t)] = -log_sum(terms);
        }
        for (index_t e = 0; e < logits.cols; ++e) {
            std::vector<double> terms;
            for (index_t t = 0; t < logits.rows; ++t)
                terms.push_back(static_cast<double>(logits.view()(t, e)) + row[at(t)]);
            column[at(e)] = share - log_sum(terms);
        }
    }
    return plan_of(logits, column);
}

}  // namespace

TEST_CASE("sinkhorn: the plan's rows sum to 1, its columns to T / E, and it is the one such plan", "[unit]") {
    for (const auto& [tokens, experts] : {std::pair{index_t{40}, index_t{4}}, {33, 7}, {5, 8}, {64, 1}}) {
        TestMatrix logits(tokens, experts, 21, 1.5F);
        // One expert that all like and one that nobody does.
        for (index_t t = 0; t < tokens; ++t) {
            logits.values[at(t * experts)] += 4.0F;
            logits.values[at((t + 1) * experts - 1)] -= 6.0F;
        }
        const std::vector<double> plan = plan_of(logits, log_factors(logits, 1));
        const std::vector<double> expected = solve(logits);
        for (index_t e = 0; e < experts; ++e) {
            double sum = 0.0;
            for (index_t t = 0; t < tokens; ++t) sum += plan[at(t * experts + e)];
            CHECK(sum == Approx(static_cast<double>(tokens) / static_cast<double>(experts)).epsilon(2e-3));
        }
        for (std::size_t i = 0; i < plan.size(); ++i) REQUIRE(plan[i] == Approx(expected[i]).margin(2e-3));
    }
}

TEST_CASE("sinkhorn: factors are the same bits on every layout", "[unit]") {
    const TestMatrix logits(131, 6, 4, 2.0F);
    const std::vector<double> one = log_factors(logits, 1);
    CHECK(*std::ranges::max_element(one) > *std::ranges::min_element(one) + 0.01);
    for (const int ranks : {2, 3, 4, 8}) CHECK(log_factors(logits, ranks) == one);
}

TEST_CASE("sinkhorn: shifts of rows and of columns change no plan", "[unit]") {
    TestMatrix logits(30, 5, 6, 1.0F);
    const std::vector<double> before = plan_of(logits, log_factors(logits, 1));
    for (index_t t = 0; t < 30; ++t) {
        for (index_t e = 0; e < 5; ++e)
            logits.values[at(t * 5 + e)] += static_cast<float>(t) - 7.0F * static_cast<float>(e);
    }
    const std::vector<double> after = plan_of(logits, log_factors(logits, 1));
    for (std::size_t i = 0; i < before.size(); ++i) CHECK(after[i] == Approx(before[i]).margin(2e-3));
}

TEST_CASE("sinkhorn: logits beyond all measure end in finite factors", "[unit]") {
    TestMatrix logits(12, 3, 9, 1.0F);
    for (index_t t = 0; t < 12; ++t) logits.values[at(t * 3 + 2)] = -1e30F;
    const std::vector<double> unreachable = log_factors(logits, 2);
    for (const double factor : unreachable) CHECK(std::isfinite(factor));
    // Two groups of tokens that hardly touch, of sizes that do not fit: the rounds run out.
    for (index_t t = 0; t < 12; ++t) {
        for (index_t e = 0; e < 3; ++e) logits.values[at(t * 3 + e)] = (t < 3) == (e == 0) ? 0.0F : -60.0F;
    }
    const std::vector<double> slow = log_factors(logits, 2);
    for (const double factor : slow) CHECK(std::isfinite(factor));
    logits.values[4] = std::numeric_limits<float>::quiet_NaN();
    for (const double factor : log_factors(logits, 2)) CHECK(std::isfinite(factor));
}

TEST_CASE("sinkhorn: choices are the plan's highest entries in training, the logits' otherwise", "[unit]") {
    for (const index_t top_k : {1, 2}) {
        TestMatrix logits(120, 6, 14, 1.0F);
        for (index_t t = 0; t < logits.rows; ++t) logits.values[at(t * 6 + 3)] += 8.0F;
        const MoeConfig config = router_config("sinkhorn", 6, top_k);
        const Chosen one = choose(config, logits, 1, Use::train);
        const std::vector<double> expected = solve(logits);
        index_t unclear = 0;
        for (index_t t = 0; t < logits.rows; ++t) {
            const double* const plan = expected.data() + t * 6;
            std::vector<std::int32_t> order(6);
            std::iota(order.begin(), order.end(), 0);
            std::ranges::sort(order, [&](std::int32_t a, std::int32_t b) { return plan[a] > plan[b]; });
            double sum = 0.0;
            const auto logit = [&](std::int32_t e) { return static_cast<double>(logits.view()(t, e)); };
            for (std::int32_t e = 0; e < 6; ++e) sum += std::exp(logit(e));
            for (std::size_t j = 0; j < at(top_k); ++j) {
                const std::int32_t e = one.experts[at(t)][j];
                const double weight =
                    top_k == 1 ? 1.0 / (1.0 + std::exp(-logit(e))) : std::exp(logit(e)) / sum;
                REQUIRE(one.weights[at(t)][j] == Approx(weight).epsilon(1e-5));
                if (e == order[j]) continue;
                CHECK(plan[e] == Approx(plan[order[j]]).margin(2e-3));
                ++unclear;
            }
        }
        CHECK(unclear < 5);
        CHECK(std::ranges::max(one.load(6)) < 60 * top_k);
        const Chosen greedy = choose(config, logits, 1, Use::evaluate);
        CHECK(greedy.load(6)[3] == 120);
        CHECK(choose(config, logits, 1, Use::generate) == greedy);
        for (const int ranks : {2, 3, 4, 8}) {
            CHECK(choose(config, logits, ranks, Use::train) == one);
            CHECK(choose(config, logits, ranks, Use::evaluate) == greedy);
        }
    }
}

TEST_CASE("sinkhorn: a balance loss beside it is refused", "[unit]") {
    MoeConfig moe = router_config("sinkhorn", 8, 2);
    CHECK(model_problems({}, moe).empty());
    moe.balance.switch_loss = 0.1;
    REQUIRE(model_problems({}, moe).size() == 1);
    CHECK_THAT(model_problems({}, moe)[0], Catch::Contains("set it to 0"));
}
