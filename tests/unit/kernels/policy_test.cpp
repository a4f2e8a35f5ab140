// RL-R's policy and Sinkhorn's scaling: the arithmetic of two routers.
#include "kernels/ops/policy/policy.hpp"

#include <catch2/catch.hpp>

#include "kernels/ops/copy/copy.hpp"
#include "kernels/ops/gate/gate.hpp"
#include "kernels/ops/sinkhorn/sinkhorn.hpp"
#include "tests/support/sum_words.hpp"
#include "tests/unit/kernels/numeric.hpp"

using namespace sy;
using test::relative_error;
using test::SumWords;
using test::TestMatrix;
using test::TestSession;

TEST_CASE("policy: keys are logits plus the Gumbel numbers of global tokens", "[unit]") {
    const index_t experts = GENERATE(1, 5, 64);
    const RandomKey key{3, 4, 1, RandomPurpose::router_action};
    TestSession session(2);
    const TestMatrix logits(31, experts, 1);
    TestMatrix keys(31, experts);
    ops::policy_keys(logits.view(), key, 77, keys.view(), session.context);
    for (std::size_t i = 0; i < keys.values.size(); ++i) {
        const std::uint64_t element = static_cast<std::uint64_t>(77 * experts) + i;
        const double u = static_cast<double>(uniform(key, element));
        REQUIRE(keys.values[i] ==
                static_cast<float>(static_cast<double>(logits.values[i]) - std::log(-std::log(u))));
    }
    CHECK_THROWS_AS(ops::policy_keys(logits.view(), key, -1, keys.view(), session.context), ShapeError);
}

TEST_CASE("policy: the advantage is the reward over the baseline", "[unit]") {
    TestSession session(2);
    TestMatrix x(2, 3);
    x.values = {1.0F, 2.0F, 3.0F, -1.0F, 0.5F, 0.0F};
    TestMatrix slope(3, 1);
    slope.values = {0.5F, 0.25F, -1.0F};
    const std::vector<float> offset{4.0F};
    const std::vector<float> loss{2.0F, 1.0F};
    std::vector<double> advantage(2);
    ops::policy_advantage(
        {x.view(), slope.view(), host_operand(std::span(offset)), host_operand(std::span(loss))},
        host_operand(std::span(advantage)), session.context);
    CHECK(advantage == std::vector<double>{-2.0 - (4.0 + 0.5 + 0.5 - 3.0), -1.0 - (4.0 - 0.5 + 0.125)});
    std::vector<float> dbaseline(2);
    ops::policy_baseline_backward(-0.5, host_operand(std::span(advantage)),
                                  host_operand(std::span(dbaseline)), session.context);
    CHECK(dbaseline == std::vector<float>{2.0F, 2.3125F});
    CHECK_THROWS_AS(ops::policy_advantage({x.view(), slope.view(), host_operand(std::span(offset)),
                                           host_operand(std::span(loss).first(1))},
                                          host_operand(std::span(advantage)), session.context),
                    ShapeError);
}

TEST_CASE("policy: the gradient is that of the reference loss, by finite differences", "[unit]") {
    const index_t top_k = GENERATE(1, 2, 5);
    constexpr index_t kTokens = 9;
    constexpr index_t kExperts = 5;
    TestSession session(2);
    const TestMatrix logits(kTokens, kExperts, 1);
    TestMatrix scores(kTokens, kExperts);
    std::vector<float> lse(kTokens);
    ops::gate_scores(ops::Score::softmax, logits.view(), scores.view(), host_operand(std::span(lse)),
                     session.context);
    const TestMatrix keys(kTokens, kExperts, 2);
    std::vector<std::int32_t> draws(static_cast<std::size_t>(kTokens * top_k));
    ops::gate_top_k(keys.view(), MatrixView(draws.data(), kTokens, top_k), session.context);
    const std::vector<double> advantage = test::widened(TestMatrix(1, kTokens, 3).values);
    const ops::PolicyLoss loss{logits.view(),
                               host_operand(std::span(lse)),
                               MatrixView(draws.data(), kTokens, top_k),
                               host_operand(std::span(advantage)),
                               0.125,
                               0.3};
    TestMatrix dlogits(kTokens, kExperts);
    ops::policy_backward(loss, dlogits.view(), session.context);
    const std::vector<double> wanted = test::numeric_gradient(
        test::widened(logits.values),
        [&](const std::vector<double>& at) { return ops::ref::policy_loss(loss, at); });
    CHECK(relative_error(dlogits.values, wanted) < 1e-5);
    CHECK_THROWS_AS(ops::policy_backward(loss, dlogits.view().rows_of({0, 2}), session.context), ShapeError);
}

TEST_CASE("sinkhorn: columns of the plan agree with the reference, whatever the threads", "[unit]") {
    const int threads = GENERATE(1, 3);
    TestSession session(threads);
    TestMatrix logits(301, 21, 1, 3.0F);
    std::vector<double> factor(21);
    for (std::size_t e = 0; e < factor.size(); ++e) factor[e] = 0.25 + 0.125 * static_cast<double>(e);
    std::vector<double> wanted(21);
    ops::ref::sinkhorn_columns(logits.view(), factor, wanted);
    TestMatrix powers(301, 21);
    SumWords sums(21);
    ops::fill(0.5F, powers.view(), session.context);
    ops::sinkhorn_columns(powers.view(), factor, sums, session.context);
    ops::sinkhorn_powers(logits.view(), powers.view(), session.context);
    for (index_t t = 0; t < 301; ++t) REQUIRE(*std::ranges::max_element(powers.view().row_span(t)) == 1.0F);
    ops::sinkhorn_columns(powers.view(), factor, sums, session.context);
    for (std::size_t e = 0; e < factor.size(); ++e)
        CHECK(sums.sums()[e].value() == Approx(wanted[e]).epsilon(1e-5));
    const std::vector<ExactSum> before = sums.sums();
    std::fill_n(logits.view().row(300), 21, HUGE_VALF);
    ops::sinkhorn_powers(logits.view(), powers.view(), session.context);
    ops::sinkhorn_columns(powers.view(), factor, sums, session.context);
    CHECK(sums.sums() != before);
    SumWords fewer(21);
    ops::sinkhorn_columns(powers.view().rows_of({0, 300}), factor, fewer, session.context);
    CHECK(sums.sums() == fewer.sums());
    CHECK_THROWS_AS(ops::sinkhorn_columns(powers.view(), std::span(factor).first(3), sums, session.context),
                    ShapeError);
}

TEST_CASE("sinkhorn: the plan's logarithm is added in double", "[unit]") {
    TestSession session(2);
    const TestMatrix logits(5, 3, 1);
    TestMatrix plan(5, 3);
    const std::vector<double> log_factor{0.1, -1e30, 1e-9};
    ops::sinkhorn_log_plan(logits.view(), log_factor, plan.view(), session.context);
    for (std::size_t i = 0; i < plan.values.size(); ++i)
        CHECK(plan.values[i] ==
              static_cast<float>(static_cast<double>(logits.values[i]) + log_factor[i % 3]));
    CHECK_THROWS_AS(
        ops::sinkhorn_log_plan(logits.view(), log_factor, plan.view().rows_of({0, 2}), session.context),
        ShapeError);
}
