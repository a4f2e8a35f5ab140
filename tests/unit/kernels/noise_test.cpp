#include "kernels/ops/noise/noise.hpp"

#include <catch2/catch.hpp>

#include "tests/unit/kernels/numeric.hpp"

using namespace sy;
using test::relative_error;
using test::TestMatrix;
using test::TestSession;

TEST_CASE("learned noise: scale, logits and gradient agree with the reference", "[unit]") {
    const index_t tokens = GENERATE(0, 1, 37);
    const index_t experts = GENERATE(1, 6, 64);
    const bool direct = GENERATE(false, true);
    TestSession session(2);
    const TestMatrix clean(tokens, experts, 1);
    const TestMatrix noise(tokens, experts, 2);
    const TestMatrix dlogits(tokens, experts, 3);
    const TestMatrix dscale(tokens, experts, 4);
    TestMatrix scale(tokens, experts, 5, 3.0F);
    TestMatrix wanted_scale = scale;
    TestMatrix logits = clean;
    TestMatrix wanted(tokens, experts);
    ops::learned_noise(logits.view(), noise.view(), scale.view(), logits.view(), session.context);
    ops::ref::learned_noise(clean.view(), noise.view(), wanted_scale.view(), wanted.view());
    CHECK(relative_error(scale.values, wanted_scale.values) < 1e-6);
    CHECK(relative_error(logits.values, wanted.values) < 1e-6);
    TestMatrix draw(tokens, experts);
    const ops::LearnedNoise forward{noise.view(), scale.view()};
    const MatrixView<const float> of_scale = direct ? dscale.view() : MatrixView<const float>();
    ops::learned_noise_backward(forward, dlogits.view(), of_scale, draw.view(), session.context);
    ops::ref::learned_noise_backward(forward, dlogits.view(), of_scale, wanted.view());
    CHECK(relative_error(draw.values, wanted.values) < 1e-5);
}

TEST_CASE("learned noise: the reference's gradient is the slope of its forward", "[unit]") {
    const TestMatrix clean(1, 9, 1);
    const TestMatrix noise(1, 9, 2);
    const TestMatrix raw(1, 9, 3, 2.0F);
    TestMatrix scale = raw;
    TestMatrix logits(1, 9);
    ops::ref::learned_noise(clean.view(), noise.view(), scale.view(), logits.view());
    const TestMatrix ones = [] {
        TestMatrix m(1, 9);
        std::ranges::fill(m.values, 1.0F);
        return m;
    }();
    TestMatrix draw(1, 9);
    ops::ref::learned_noise_backward({noise.view(), scale.view()}, ones.view(), ones.view(), draw.view());
    const std::vector<double> wanted =
        test::numeric_gradient(test::widened(raw.values), [&](const std::vector<double>& x) {
            double sum = 0.0;
            for (std::size_t i = 0; i < x.size(); ++i)
                sum += (static_cast<double>(noise.values[i]) + 1.0) * std::log1p(std::exp(x[i]));
            return sum;
        });
    CHECK(relative_error(draw.values, std::span<const double>(wanted)) < 1e-5);
}

TEST_CASE("learned noise: shapes that do not fit are refused", "[unit]") {
    TestSession session;
    TestMatrix a(2, 3, 1);
    TestMatrix b(3, 2, 1);
    CHECK_THROWS_AS(ops::learned_noise(a.view(), b.view(), a.view(), a.view(), session.context), ShapeError);
    CHECK_THROWS_AS(
        ops::learned_noise_backward({a.view(), a.view()}, a.view(), b.view(), a.view(), session.context),
        ShapeError);
}
