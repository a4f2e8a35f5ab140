#include "kernels/ops/normal/normal.hpp"

#include <catch2/catch.hpp>
#include <cmath>

#include "tests/unit/kernels/numeric.hpp"

using namespace sy;
using test::TestMatrix;
using test::TestSession;

TEST_CASE("normal: probability and density agree with the reference, in and out of place", "[unit]") {
    const index_t cols = GENERATE(1, 15, 16, 100, 513);
    TestSession session(2);
    const TestMatrix x(37, cols, 1, 3.0F);
    TestMatrix wanted(37, cols);
    TestMatrix got(37, cols);
    TestMatrix in_place = x;
    const auto largest_error = [&] {
        double error = 0.0;
        for (std::size_t i = 0; i < got.values.size(); ++i)
            error = std::max(
                error, std::fabs(static_cast<double>(got.values[i]) - static_cast<double>(wanted.values[i])));
        return error;
    };
    ops::normal_cdf(x.view(), got.view(), session.context);
    ops::ref::normal_cdf(x.view(), wanted.view());
    CHECK(largest_error() < 1e-7);
    ops::normal_cdf(in_place.view(), in_place.view(), session.context);
    CHECK(test::same_bits(in_place.values, got.values));
    ops::normal_density(x.view(), got.view(), session.context);
    ops::ref::normal_density(x.view(), wanted.view());
    CHECK(largest_error() < 1e-7);
}

TEST_CASE("normal: ends, middle and NaN", "[unit]") {
    TestSession session;
    std::vector<float> x{0.0F, 100.0F, -100.0F, HUGE_VALF, -HUGE_VALF, 1.0F, std::nanf("")};
    std::vector<float> y(7);
    ops::normal_cdf(MatrixView(x.data(), 1, 7), MatrixView(y.data(), 1, 7), session.context);
    CHECK(y[0] == 0.5F);
    CHECK(y[1] == 1.0F);
    CHECK(y[2] == 0.0F);
    CHECK(y[3] == 1.0F);
    CHECK(y[4] == 0.0F);
    CHECK(y[5] == Approx(0.8413447461));
    CHECK(std::isnan(y[6]));
    ops::normal_density(MatrixView(x.data(), 1, 7), MatrixView(y.data(), 1, 7), session.context);
    CHECK(y[0] == Approx(0.3989422804));
    CHECK(y[1] == 0.0F);
    CHECK(y[4] == 0.0F);
    CHECK(y[5] == Approx(0.2419707245));
    CHECK(std::isnan(y[6]));
    CHECK_THROWS_AS(ops::normal_cdf(MatrixView(x.data(), 1, 7), MatrixView(y.data(), 7, 1), session.context),
                    ShapeError);
    CHECK_THROWS_AS(
        ops::normal_density(MatrixView(x.data(), 7, 1), MatrixView(y.data(), 1, 7), session.context),
        ShapeError);
}
