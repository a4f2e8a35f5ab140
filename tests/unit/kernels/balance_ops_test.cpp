#include "kernels/ops/balance/balance.hpp"

#include <catch2/catch.hpp>

#include "kernels/ops/gate/gate.hpp"
#include "kernels/ops/normal/normal.hpp"
#include "tests/support/sum_words.hpp"
#include "tests/unit/kernels/numeric.hpp"

using namespace sy;
using ops::Score;
using test::relative_error;
using test::SumWords;
using test::TestMatrix;
using test::TestSession;

namespace {

using Experts = std::vector<std::int32_t>;

/// [T, E] numbers in (0, 1).
TestMatrix scores_of(index_t tokens, index_t experts, std::uint64_t stream) {
    TestMatrix scores(tokens, experts, stream);
    for (float& score : scores.values) score = 1.0F / (1.0F + std::exp(-score));
    return scores;
}

std::vector<double> values_of(const std::vector<ExactSum>& sums) {
    std::vector<double> values;
    for (const ExactSum& sum : sums) values.push_back(sum.value());
    return values;
}

std::vector<ExactSum> share_sums(Score kind, const TestMatrix& scores, std::size_t runs, int threads) {
    TestSession session(threads);
    SumWords words(static_cast<index_t>(runs));
    ops::share_sums(kind, scores.view(), words, session.context);
    return words.sums();
}

}  // namespace

TEST_CASE("balance: shares of experts and of runs of them agree with the reference, whatever the threads",
          "[unit]") {
    const auto kind = GENERATE(Score::softmax, Score::sigmoid);
    const std::size_t runs = GENERATE(1UL, 4UL, 24UL);
    const TestMatrix scores = scores_of(201, 24, 1);
    std::vector<double> wanted(runs, 0.0);
    ops::ref::share_sums(kind, scores.view(), wanted);
    const std::vector<ExactSum> got = share_sums(kind, scores, runs, 1);
    for (std::size_t g = 0; g < runs; ++g) CHECK(got[g].value() == Approx(wanted[g]).epsilon(1e-9));
    CHECK(got == share_sums(kind, scores, runs, 3));
    CHECK_THROWS_AS(share_sums(kind, scores, 5, 1), ShapeError);
    TestSession session;
    SumWords words(static_cast<index_t>(runs));
    for (int time = 0; time < 2; ++time) ops::share_sums(kind, scores.view(), words, session.context);
    const std::vector<ExactSum> twice = words.sums();
    for (std::size_t g = 0; g < runs; ++g) CHECK(twice[g].value() == Approx(2.0 * wanted[g]).epsilon(1e-9));
}

TEST_CASE("balance: choices add their values to their experts, and get their experts' factors", "[unit]") {
    TestSession session(2);
    const Experts expert{0, 2, 2, -1, 1, 2};
    const MatrixView<const std::int32_t> choices{expert.data(), 3, 2};
    TestMatrix value(3, 2);
    value.values = {0.5F, 1.0F, 2.0F, 64.0F, 4.0F, 8.0F};
    SumWords sums(3);
    ops::choice_sums(choices, value.view(), sums, session.context);
    CHECK(values_of(sums.sums()) == std::vector<double>{0.5, 4.0, 11.0});
    const std::vector<float> factor{1.0F, 10.0F, 100.0F};
    ops::add_to_choices(choices, factor, value.view(), session.context);
    CHECK(value.values == std::vector<float>{1.5F, 101.0F, 102.0F, 64.0F, 14.0F, 108.0F});
    CHECK_THROWS_AS(ops::choice_sums(choices, value.view().rows_of({0, 2}), sums, session.context),
                    ShapeError);
    CHECK_THROWS_AS(ops::add_to_choices(choices, factor, value.view().rows_of({0, 2}), session.context),
                    ShapeError);
}

TEST_CASE("balance: a token that reaches a run twice counts once", "[unit]") {
    TestSession session(2);
    const Experts expert{0, 1, 3, 2, -1, -1, 5, 0};
    SumWords sums(3);
    ops::count_reached(MatrixView(expert.data(), 4, 2), 2, sums, session.context);
    CHECK(values_of(sums.sums()) == std::vector<double>{2.0, 1.0, 1.0});
    CHECK_THROWS_AS(ops::count_reached(MatrixView(expert.data(), 4, 2), 0, sums, session.context),
                    ShapeError);
}

TEST_CASE("balance: values and their squares add up, and the squares' gradient is rounded once", "[unit]") {
    TestSession session(2);
    const std::vector<float> x{3.0F, -4.0F, 0.5F};
    SumWords sum(1);
    ops::square_sum(host_operand(std::span(x)), sum, session.context);
    CHECK(values_of(sum.sums()) == std::vector<double>{25.25});
    ops::value_sum(host_operand(std::span(x)), sum, session.context);
    CHECK(values_of(sum.sums()) == std::vector<double>{24.75});
    std::vector<float> floats(4);
    CHECK_THROWS_AS(
        ops::value_sum(host_operand(std::span(x)), host_operand(std::span(floats)), session.context),
        ShapeError);
    SumWords two(2);
    CHECK_THROWS_AS(ops::square_sum(host_operand(std::span(x)), two, session.context), ShapeError);
    std::vector<float> y{1.0F, 1.0F, 1.0F};
    ops::add_scaled(0.1, host_operand(std::span(x)), host_operand(std::span(y)), session.context);
    for (std::size_t i = 0; i < x.size(); ++i)
        CHECK(y[i] == 1.0F + static_cast<float>(0.1 * static_cast<double>(x[i])));
    CHECK_THROWS_AS(ops::add_scaled(1.0, host_operand(std::span(x).first(2)), host_operand(std::span(y)),
                                    session.context),
                    ShapeError);
}

TEST_CASE("balance: frequencies and sums of sequences agree with the reference", "[unit]") {
    const auto kind = GENERATE(Score::softmax, Score::sigmoid);
    constexpr index_t kSequences = 5;
    constexpr index_t kExperts = 7;
    TestSession session(3);
    const TestMatrix scores = scores_of(kSequences * 6, kExperts, 2);
    Experts expert(static_cast<std::size_t>(scores.rows * 2));
    const MatrixView<std::int32_t> choices{expert.data(), scores.rows, 2};
    ops::gate_top_k(scores.view(), choices, session.context);
    expert[3] = -1;
    std::vector<double> storage(kSequences * kExperts, 9.0);
    std::vector<double> wanted(storage.size());
    const MatrixView<double> frequency{storage.data(), kSequences, kExperts};
    ops::sequence_frequencies(choices, 0.25, frequency, session.context);
    ops::ref::sequence_frequencies(choices, 0.25, {wanted.data(), kSequences, kExperts});
    CHECK(storage == wanted);
    SumWords sum(1);
    ops::sequence_sum(kind, scores.view(), frequency, sum, session.context);
    CHECK(sum.sums()[0].value() ==
          Approx(ops::ref::sequence_sum(kind, scores.view(), frequency)).epsilon(1e-9));
    TestMatrix dshare(scores.rows, kExperts, 3);
    const TestMatrix before = dshare;
    ops::sequence_backward(0.5, frequency, dshare.view(), session.context);
    for (index_t t = 0; t < scores.rows; ++t) {
        for (index_t e = 0; e < kExperts; ++e)
            REQUIRE(dshare.view()(t, e) ==
                    before.view()(t, e) + 0.5F * static_cast<float>(frequency(t / 6, e)));
    }
    CHECK_THROWS_AS(ops::sequence_sum(kind, scores.view().rows_of({1, 30}), frequency, sum, session.context),
                    ShapeError);
}

TEST_CASE("balance: distances of chances agree with the reference, and gradients with finite differences",
          "[unit]") {
    const index_t top_k = GENERATE(1, 3);
    constexpr index_t kTokens = 9;
    constexpr index_t kExperts = 6;
    TestSession session(2);
    const TestMatrix clean(kTokens, kExperts, 1);
    const TestMatrix logits(kTokens, kExperts, 2);
    TestMatrix scale(kTokens, kExperts, 3);
    for (float& one : scale.values) one = 0.5F + std::fabs(one);
    Experts best(static_cast<std::size_t>(kTokens * (top_k + 1)));
    ops::gate_top_k(logits.view(), MatrixView(best.data(), kTokens, top_k + 1), session.context);
    const ops::Chances chances{logits.view(), clean.view(), scale.view(),
                               MatrixView(best.data(), kTokens, top_k + 1)};
    TestMatrix distance(kTokens, kExperts);
    TestMatrix wanted(kTokens, kExperts);
    ops::chance_distances(chances, distance.view(), session.context);
    ops::ref::chance_distances(chances, wanted.view());
    CHECK(relative_error(distance.values, wanted.values) < 1e-6);

    const std::vector<float> factor{1.0F, -2.0F, 0.5F, 3.0F, 1.5F, -1.0F};
    TestMatrix density(kTokens, kExperts);
    ops::normal_density(distance.view(), density.view(), session.context);
    TestMatrix dclean(kTokens, kExperts);
    TestMatrix dlogits(kTokens, kExperts);
    TestMatrix dscale(kTokens, kExperts);
    ops::chance_backward(chances, factor, distance.view(), density.view(),
                         {dclean.view(), dlogits.view(), dscale.view()}, session.context);
    // The reference of a sum over tokens in double, from one of the three inputs.
    const auto slopes = [&](const TestMatrix& varied) {
        return test::numeric_gradient(test::widened(varied.values), [&](const std::vector<double>& at) {
            const auto value = [&](const TestMatrix& m, std::size_t i) {
                return &m == &varied ? at[i] : static_cast<double>(m.values[i]);
            };
            double total = 0.0;
            for (std::size_t t = 0; t < kTokens; ++t) {
                for (std::size_t e = 0; e < kExperts; ++e) {
                    std::vector<double> others;
                    for (std::size_t o = 0; o < kExperts; ++o) {
                        if (o != e) others.push_back(value(logits, t * kExperts + o));
                    }
                    std::ranges::sort(others, std::greater<>());
                    const std::size_t i = t * kExperts + e;
                    const double d =
                        (value(clean, i) - others[static_cast<std::size_t>(top_k - 1)]) / value(scale, i);
                    total += static_cast<double>(factor[e]) * 0.5 * std::erfc(-d / std::sqrt(2.0));
                }
            }
            return total;
        });
    };
    CHECK(relative_error(dclean.values, slopes(clean)) < 1e-5);
    CHECK(relative_error(dlogits.values, slopes(logits)) < 1e-5);
    CHECK(relative_error(dscale.values, slopes(scale)) < 1e-5);
    CHECK_THROWS_AS(ops::chance_distances(chances, distance.view().rows_of({0, 2}), session.context),
                    ShapeError);
    CHECK_THROWS_AS(ops::chance_backward(chances, std::span(factor).first(2), distance.view(), density.view(),
                                         {dclean.view(), dlogits.view(), dscale.view()}, session.context),
                    ShapeError);
}
