#include "kernels/ops/cast/cast.hpp"

#include <catch2/catch.hpp>

#include <limits>

#include "tests/unit/kernels/numeric.hpp"

using namespace sy;
using test::TestMatrix;
using test::TestSession;

TEST_CASE("cast: rounds to nearest even as the scalar conversion, and widens exactly", "[unit]") {
    const index_t rows = GENERATE(0, 1, 5);
    const index_t cols = GENERATE(1, 16, 23, 9000);
    const int threads = GENERATE(1, 3);
    TestSession session(threads);
    const TestMatrix x(rows, cols, 1, 100.0F);
    std::vector<bf16> narrow(x.values.size());
    ops::cast(x.view(), MatrixView<bf16>(narrow.data(), rows, cols), session.context);
    TestMatrix back(rows, cols);
    ops::cast(MatrixView<const bf16>(narrow.data(), rows, cols), back.view(), session.context);
    for (std::size_t i = 0; i < x.values.size(); ++i) {
        REQUIRE(narrow[i] == bf16(x.values[i]));
        REQUIRE(back.values[i] == static_cast<float>(narrow[i]));
        REQUIRE(std::fabs(back.values[i] - x.values[i]) <= std::fabs(x.values[i]) * 0x1p-8F);
    }
}

TEST_CASE("cast: ties, overflow, infinities and NaN", "[unit]") {
    TestSession session;
    constexpr float kInfinity = std::numeric_limits<float>::infinity();
    const std::vector<float> x{1.0F + 0x1p-8F,
                               1.0F + 0x1.8p-7F,
                               std::numeric_limits<float>::max(),
                               kInfinity,
                               -kInfinity,
                               -0.0F,
                               std::numeric_limits<float>::quiet_NaN()};
    std::vector<bf16> y(7);
    ops::cast(MatrixView<const float>(x.data(), 1, 7), MatrixView<bf16>(y.data(), 1, 7), session.context);
    CHECK(static_cast<float>(y[0]) == 1.0F);
    CHECK(static_cast<float>(y[1]) == 1.0F + 0x1p-6F);
    CHECK(static_cast<float>(y[2]) == kInfinity);
    CHECK(static_cast<float>(y[3]) == kInfinity);
    CHECK(static_cast<float>(y[4]) == -kInfinity);
    CHECK(y[5].bits == 0x8000);
    CHECK(std::isnan(static_cast<float>(y[6])));
}

TEST_CASE("cast: parts of wider matrices, and nothing beside them", "[unit]") {
    TestSession session(2);
    const TestMatrix x(40, 30, 1);
    std::vector<bf16> wide(40 * 50, bf16(7.0F));
    const MatrixView<bf16> part(wide.data() + 4, 40, 21, 50);
    ops::cast(x.view().cols_of({3, 24}), part, session.context);
    for (index_t r = 0; r < 40; ++r) {
        for (index_t c = 0; c < 50; ++c) {
            const bool inside = c >= 4 && c < 25;
            REQUIRE(wide[static_cast<std::size_t>(r * 50 + c)] == bf16(inside ? x.view()(r, c - 1) : 7.0F));
        }
    }
}

TEST_CASE("cast: shapes that differ are refused", "[unit]") {
    TestSession session;
    const TestMatrix x(4, 6, 1);
    std::vector<bf16> y(24);
    CHECK_THROWS_AS(ops::cast(x.view(), MatrixView<bf16>(y.data(), 6, 4), session.context), ShapeError);
    CHECK_THROWS_AS(ops::cast(x.view(), MatrixView<bf16>(y.data(), 4, 5), session.context), ShapeError);
    CHECK_THROWS_AS(ops::cast(x.view(), TestMatrix(4, 6).view(), session.context), ShapeError);
}
