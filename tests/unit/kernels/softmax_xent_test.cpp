#include "kernels/ops/softmax_xent/softmax_xent.hpp"

#include <catch2/catch.hpp>

#include <limits>
#include <numeric>

#include "tests/unit/kernels/numeric.hpp"

using namespace sy;
using test::relative_error;
using test::TestMatrix;
using test::TestSession;

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

struct Result {
    TestMatrix gradient;
    std::vector<float> loss;
};

Result run(const TestMatrix& logits, const std::vector<std::int32_t>& target, float scale, int threads = 1) {
    TestSession session(threads);
    Result result{logits, std::vector<float>(target.size(), -1.0F)};
    ops::softmax_xent(result.gradient.view(), target, scale, host_operand(std::span(result.loss)),
                      session.context);
    return result;
}

Result run_row(std::vector<float> row, std::int32_t target, float scale) {
    TestMatrix logits(1, static_cast<index_t>(row.size()));
    logits.values = std::move(row);
    return run(logits, {target}, scale);
}

}  // namespace

TEST_CASE("softmax_xent: agrees with the reference over sizes", "[unit]") {
    const index_t rows = GENERATE(0, 1, 9);
    const index_t classes = GENERATE(1, 2, 15, 16, 17, 77, 256, 1000);
    const TestMatrix logits(rows, classes, 1, 5.0F);
    std::vector<std::int32_t> target;
    for (index_t t = 0; t < rows; ++t)
        target.push_back(t % 4 == 3 ? -1 : static_cast<std::int32_t>(t * 13 % classes));
    const Result got = run(logits, target, 0.25F, 2);
    Result wanted{logits, std::vector<float>(target.size())};
    ops::ref::softmax_xent(wanted.gradient.view(), target, 0.25F, wanted.loss);
    for (std::size_t i = 0; i < got.gradient.values.size(); ++i) {
        REQUIRE(static_cast<double>(got.gradient.values[i]) ==
                Approx(static_cast<double>(wanted.gradient.values[i])).epsilon(2e-6).margin(5e-8));
    }
    for (std::size_t t = 0; t < target.size(); ++t) {
        REQUIRE(static_cast<double>(got.loss[t]) ==
                Approx(static_cast<double>(wanted.loss[t])).epsilon(1e-6).margin(1e-6));
    }
}

TEST_CASE("softmax_xent: equal logits lose log V whatever they are, and share the gradient", "[unit]") {
    const float value = GENERATE(0.0F, -3.5F, 1e4F, -1e30F);
    const Result got = run_row(std::vector<float>(37, value), 5, 2.0F);
    CHECK(static_cast<double>(got.loss[0]) == Approx(std::log(37.0)).epsilon(1e-6));
    for (std::size_t v = 0; v < 37; ++v) {
        const double wanted = 2.0 * (1.0 / 37.0 - (v == 5 ? 1.0 : 0.0));
        CHECK(static_cast<double>(got.gradient.values[v]) == Approx(wanted).epsilon(1e-6));
    }
}

TEST_CASE("softmax_xent: extreme logits neither overflow nor lose the small loss", "[unit]") {
    // Far from 0, the loss must keep what the logits' differences say.
    std::vector<float> shifted(40, 16384.0F);
    shifted[3] = 16386.0F;
    const double wanted = std::log(1.0 + 39.0 * std::exp(-2.0));
    CHECK(static_cast<double>(run_row(shifted, 3, 1.0F).loss[0]) == Approx(wanted).epsilon(1e-6));
    std::vector<float> spread(40, -1e38F);
    spread[7] = 1e38F;
    const Result sure = run_row(spread, 7, 1.0F);
    CHECK(sure.loss[0] == 0.0F);
    for (const float value : sure.gradient.values) CHECK(value == 0.0F);
    // The loss of a hopeless target is as large as the distance, which may be infinite.
    const Result wrong = run_row(spread, 0, 1.0F);
    CHECK(wrong.loss[0] == 2e38F);
    CHECK(wrong.gradient.values[7] == 1.0F);
    CHECK(wrong.gradient.values[0] == -1.0F);
    std::vector<float> masked(40, -kInfinity);
    masked[1] = 0.5F;
    masked[2] = 0.5F;
    const Result half = run_row(masked, 1, 1.0F);
    CHECK(static_cast<double>(half.loss[0]) == Approx(std::log(2.0)));
    CHECK(half.gradient.values[1] == -0.5F);
    CHECK(half.gradient.values[2] == 0.5F);
    CHECK(half.gradient.values[0] == 0.0F);
    CHECK(run_row(masked, 0, 1.0F).loss[0] == kInfinity);
}

TEST_CASE("softmax_xent: NaN and infinite logits show in the loss", "[unit]") {
    for (const float bad : {kInfinity, std::numeric_limits<float>::quiet_NaN()}) {
        for (const std::size_t place : {0UL, 16UL, 36UL}) {
            std::vector<float> row(37, 0.5F);
            row[place] = bad;
            CHECK_FALSE(std::isfinite(run_row(row, 4, 1.0F).loss[0]));
            CHECK_FALSE(std::isfinite(run_row(row, 4, 0.0F).loss[0]));
        }
    }
}

TEST_CASE("softmax_xent: a position that does not count is 0, whatever its logits hold", "[unit]") {
    const Result got = run_row({1.0F, std::numeric_limits<float>::quiet_NaN(), kInfinity}, -1, 1.0F);
    CHECK(got.loss[0] == 0.0F);
    CHECK(got.gradient.values == std::vector<float>(3, 0.0F));
}

TEST_CASE("softmax_xent: scale 0 gives the loss and leaves the logits", "[unit]") {
    const TestMatrix logits(5, 33, 1);
    const std::vector<std::int32_t> target{0, 32, -1, 5, 7};
    const Result plain = run(logits, target, 0.0F);
    CHECK(test::same_bits(plain.gradient.values, logits.values));
    CHECK(test::same_bits(plain.loss, run(logits, target, 0.5F).loss));
}

TEST_CASE("softmax_xent: the gradient agrees with finite differences and sums to 0", "[unit]") {
    constexpr index_t kRows = 3;
    constexpr index_t kClasses = 21;
    const TestMatrix logits(kRows, kClasses, 1, 2.0F);
    const std::vector<std::int32_t> target{4, -1, 20};
    const double scale = 0.125;
    const auto loss = [&](const std::vector<double>& at) {
        double total = 0.0;
        for (std::size_t t = 0; t < kRows; ++t) {
            if (target[t] < 0) continue;
            double sum = 0.0;
            for (std::size_t v = 0; v < kClasses; ++v) sum += std::exp(at[t * kClasses + v]);
            total += scale * (std::log(sum) - at[t * kClasses + static_cast<std::size_t>(target[t])]);
        }
        return total;
    };
    const Result got = run(logits, target, 0.125F);
    CHECK(relative_error(got.gradient.values, test::numeric_gradient(test::widened(logits.values), loss)) <
          2e-6);
    for (index_t t = 0; t < kRows; ++t) {
        const auto row = got.gradient.view().row_span(t);
        CHECK(std::accumulate(row.begin(), row.end(), 0.0) == Approx(0.0).margin(1e-7));
    }
}

TEST_CASE("softmax_xent: the z-loss adds its gradient, and its sums of exponentials are kept", "[unit]") {
    constexpr index_t kRows = 3;
    constexpr index_t kClasses = 37;
    const TestMatrix logits(kRows, kClasses, 1, 2.0F);
    const std::vector<std::int32_t> target{4, -1, 20};
    const auto loss = [&](const std::vector<double>& at) {
        double total = 0.0;
        for (std::size_t t = 0; t < kRows; ++t) {
            if (target[t] < 0) continue;
            double sum = 0.0;
            for (std::size_t v = 0; v < kClasses; ++v) sum += std::exp(at[t * kClasses + v]);
            const double lse = std::log(sum);
            total +=
                0.5 * (lse - at[t * kClasses + static_cast<std::size_t>(target[t])]) + 0.0625 * lse * lse;
        }
        return total;
    };
    TestSession session(2);
    for (const bool reference : {false, true}) {
        TestMatrix gradient = logits;
        std::vector<float> losses(3, -1.0F);
        std::vector<float> lse(3, -1.0F);
        const ops::OutputZLoss z{0.0625F, host_operand(std::span(lse))};
        if (reference) {
            ops::ref::softmax_xent(gradient.view(), target, 0.5F, losses, z);
        } else {
            ops::softmax_xent(gradient.view(), target, 0.5F, host_operand(std::span(losses)), z,
                              session.context);
        }
        CHECK(relative_error(gradient.values, test::numeric_gradient(test::widened(logits.values), loss)) <
              2e-6);
        CHECK(lse[1] == 0.0F);
        double sum = 0.0;
        for (const float value : logits.view().row_span(2)) sum += std::exp(static_cast<double>(value));
        CHECK(static_cast<double>(lse[2]) == Approx(std::log(sum)).epsilon(1e-6));
        if (!reference) CHECK(test::same_bits(losses, run(logits, target, 0.5F).loss));
    }
    std::vector<float> losses(3);
    std::vector<float> lse(2);
    TestMatrix gradient = logits;
    CHECK_THROWS_AS(ops::softmax_xent(gradient.view(), target, 0.5F, host_operand(std::span(losses)),
                                      {0.0625F, host_operand(std::span(lse))}, session.context),
                    ShapeError);
}

TEST_CASE("softmax_xent: a row's bits do not depend on threads or on the rows beside it", "[unit]") {
    const TestMatrix logits(29, 45, 1, 3.0F);
    std::vector<std::int32_t> target;
    for (std::int32_t t = 0; t < 29; ++t) target.push_back(t);
    const Result whole = run(logits, target, 0.5F);
    for (const int threads : {2, 3}) {
        const Result other = run(logits, target, 0.5F, threads);
        CHECK(test::same_bits(other.gradient.values, whole.gradient.values));
        CHECK(test::same_bits(other.loss, whole.loss));
    }
    const Result alone = run_row({logits.values.begin() + 28 * 45, logits.values.end()}, 28, 0.5F);
    CHECK(std::equal(alone.gradient.values.begin(), alone.gradient.values.end(),
                     whole.gradient.values.begin() + 28 * 45));
    CHECK(alone.loss[0] == whole.loss[28]);
}

TEST_CASE("softmax_xent: targets and lengths that do not fit are refused before anything is written",
          "[unit]") {
    TestSession session;
    TestMatrix logits(2, 5, 1);
    const TestMatrix before = logits;
    std::vector<float> loss(2);
    for (const std::vector<std::int32_t>& target : {std::vector<std::int32_t>{0, 5}, {0, -2}, {1 << 30, 0}}) {
        CHECK_THROWS_AS(
            ops::softmax_xent(logits.view(), target, 1.0F, host_operand(std::span(loss)), session.context),
            ShapeError);
    }
    const std::vector<std::int32_t> three{0, 1, 2};
    CHECK_THROWS_AS(
        ops::softmax_xent(logits.view(), three, 1.0F, host_operand(std::span(loss)), session.context),
        ShapeError);
    const std::vector<std::int32_t> two{0, 1};
    CHECK_THROWS_AS(
        ops::softmax_xent(logits.view(), two, 1.0F, host_operand(std::span(loss).first(1)), session.context),
        ShapeError);
    CHECK(test::same_bits(logits.values, before.values));
}

TEST_CASE("softmax_row: probabilities sum to 1 and sharpen as the temperature falls", "[unit]") {
    const std::vector<float> logits{1.0F, 3.0F, 2.0F, -kInfinity};
    std::vector<float> probabilities(4);
    ops::softmax_row(std::span(logits), 2.0, std::span(probabilities));
    const double sum = std::exp(0.5) + std::exp(1.5) + std::exp(1.0);
    CHECK(static_cast<double>(probabilities[0]) == Approx(std::exp(0.5) / sum));
    CHECK(static_cast<double>(probabilities[1]) == Approx(std::exp(1.5) / sum));
    CHECK(static_cast<double>(probabilities[2]) == Approx(std::exp(1.0) / sum));
    CHECK(probabilities[3] == 0.0F);
    ops::softmax_row(std::span(logits), 1e-3, std::span(probabilities));
    CHECK(probabilities == std::vector<float>{0.0F, 1.0F, 0.0F, 0.0F});
    CHECK_THROWS_AS(ops::softmax_row(std::span(logits), 0.0, std::span(probabilities)), LogicError);
    CHECK_THROWS_AS(ops::softmax_row(std::span(logits), -1.0F, std::span(probabilities)), LogicError);
    CHECK_THROWS_AS(ops::softmax_row(std::span(logits), 1.0F, std::span(probabilities).first(3)), ShapeError);
    CHECK_THROWS_AS(ops::softmax_row({}, 1.0F, {}), ShapeError);
}
