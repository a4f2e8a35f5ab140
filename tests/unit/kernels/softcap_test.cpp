#include "kernels/ops/softcap/softcap.hpp"

#include <catch2/catch.hpp>

#include "tests/unit/kernels/numeric.hpp"

using namespace sy;
using test::relative_error;
using test::TestMatrix;
using test::TestSession;

TEST_CASE("soft cap: forward and backward agree with the reference, in and out of place", "[unit]") {
    const index_t cols = GENERATE(1, 15, 16, 100, 513);
    const float cap = GENERATE(0.5F, 3.0F, 30.0F);
    TestSession session(2);
    const TestMatrix x(9, cols, 1, 10.0F);
    TestMatrix got(9, cols);
    TestMatrix wanted(9, cols);
    ops::soft_cap(x.view(), cap, got.view(), session.context);
    ops::ref::soft_cap(x.view(), cap, wanted.view());
    CHECK(relative_error(got.values, wanted.values) < 3e-7);
    TestMatrix in_place = x;
    ops::soft_cap(in_place.view(), cap, in_place.view(), session.context);
    CHECK(test::same_bits(in_place.values, got.values));
    TestMatrix gradient(9, cols, 2);
    TestMatrix wanted_gradient = gradient;
    ops::soft_cap_backward(x.view(), cap, gradient.view(), session.context);
    ops::ref::soft_cap_backward(x.view(), cap, wanted_gradient.view());
    for (std::size_t i = 0; i < gradient.values.size(); ++i) {
        // Relative to each element: where the cap bites, derivatives are small but keep their digits.
        const double exact = static_cast<double>(wanted_gradient.values[i]);
        REQUIRE(static_cast<double>(gradient.values[i]) == Approx(exact).epsilon(1e-5).margin(1e-30));
    }
}

TEST_CASE("soft cap: small numbers pass, large ones stop at the cap, and a huge cap changes nothing",
          "[unit]") {
    TestSession session;
    std::vector<float> x{0.0F, 1e-4F, -1e-4F, 1e6F, -1e6F, 30.0F};
    std::vector<float> y(6);
    ops::soft_cap(host_operand(std::span(x)), 30.0F, host_operand(std::span(y)), session.context);
    CHECK(y[0] == 0.0F);
    CHECK(y[1] == Approx(1e-4));
    CHECK(y[2] == -y[1]);
    CHECK(y[3] == 30.0F);
    CHECK(y[4] == -30.0F);
    CHECK(y[5] == Approx(30.0 * std::tanh(1.0)));
    std::vector<float> slope(6, 1.0F);
    ops::soft_cap_backward(host_operand(std::span(x)), 30.0F, host_operand(std::span(slope)),
                           session.context);
    CHECK(slope[0] == 1.0F);
    CHECK(slope[3] == 0.0F);
    CHECK(slope[4] == 0.0F);
    CHECK(slope[5] == Approx(1.0 - std::tanh(1.0) * std::tanh(1.0)));
    const TestMatrix numbers(3, 40, 1);
    TestMatrix same(3, 40);
    ops::soft_cap(numbers.view(), 1e8F, same.view(), session.context);
    CHECK(relative_error(same.values, numbers.values) < 3e-7);
}

TEST_CASE("soft cap: backward is the slope of forward", "[unit]") {
    TestSession session;
    const TestMatrix x(1, 33, 1, 4.0F);
    const std::vector<double> numeric =
        test::numeric_gradient(test::widened(x.values), [](const std::vector<double>& at) {
            double sum = 0.0;
            for (const double value : at) sum += 3.0 * std::tanh(value / 3.0);
            return sum;
        });
    TestMatrix gradient(1, 33);
    std::fill(gradient.values.begin(), gradient.values.end(), 1.0F);
    ops::soft_cap_backward(x.view(), 3.0F, gradient.view(), session.context);
    CHECK(relative_error(gradient.values, numeric) < 1e-6);
}

TEST_CASE("soft cap: threads change no bit, NaN shows, and what does not fit is refused", "[unit]") {
    TestSession one(1);
    TestSession three(3);
    TestMatrix x(50, 77, 1);
    TestMatrix a(50, 77);
    TestMatrix b(50, 77);
    ops::soft_cap(x.view(), 2.0F, a.view(), one.context);
    ops::soft_cap(x.view(), 2.0F, b.view(), three.context);
    CHECK(test::same_bits(a.values, b.values));
    x.values[5] = std::nanf("");
    ops::soft_cap(x.view(), 2.0F, a.view(), one.context);
    ops::soft_cap_backward(x.view(), 2.0F, b.view(), one.context);
    CHECK(std::isnan(a.values[5]));
    CHECK(std::isnan(b.values[5]));
    TestMatrix other(50, 76);
    CHECK_THROWS_AS(ops::soft_cap(x.view(), 2.0F, other.view(), one.context), ShapeError);
    CHECK_THROWS_AS(ops::soft_cap_backward(x.view(), 2.0F, other.view(), one.context), ShapeError);
    for (const float cap : {0.0F, -1.0F, 1e-40F, HUGE_VALF, std::nanf("")})
        CHECK_THROWS_AS(ops::soft_cap(x.view(), cap, a.view(), one.context), LogicError);
}
