#include "kernels/ops/reduce/reduce.hpp"

#include <catch2/catch.hpp>

#include <limits>

#include "tests/unit/kernels/numeric.hpp"

using namespace sy;
using test::relative_error;
using test::TestMatrix;
using test::TestSession;

TEST_CASE("reduce: sums of squares are exact where they can be, at all widths", "[unit]") {
    const index_t rows = GENERATE(0, 1, 33);
    const index_t cols = GENERATE(0, 1, 7, 31, 32, 33, 100, 1000);
    TestSession session(2);
    TestMatrix x(rows, cols);
    for (std::size_t i = 0; i < x.values.size(); ++i) x.values[i] = static_cast<float>(i * 7 % 101) - 50.0F;
    std::vector<double> sums(static_cast<std::size_t>(rows), -1.0);
    ops::row_sums_of_squares(x.view(), host_operand(std::span(sums)), session.context);
    for (index_t r = 0; r < rows; ++r) {
        double wanted = 0.0;
        for (const float value : x.view().row_span(r))
            wanted += static_cast<double>(value) * static_cast<double>(value);
        REQUIRE(sums[static_cast<std::size_t>(r)] == wanted);
    }
}

TEST_CASE("reduce: a sum of squares neither overflows nor depends on threads or neighbours", "[unit]") {
    TestMatrix x(40, 77, 1, 1e30F);
    const auto run = [](MatrixView<const float> rows, int threads) {
        TestSession session(threads);
        std::vector<double> sums(static_cast<std::size_t>(rows.rows));
        ops::row_sums_of_squares(rows, host_operand(std::span(sums)), session.context);
        return sums;
    };
    const std::vector<double> whole = run(x.view(), 1);
    for (const double sum : whole) CHECK((sum > 1e60 && sum < 1e63));
    CHECK(run(x.view(), 2) == whole);
    CHECK(run(x.view(), 3) == whole);
    CHECK(run(x.view().rows_of({39, 40}), 1)[0] == whole[39]);
}

TEST_CASE("reduce: add is elementwise, in place or not, flat or in parts of wider matrices", "[unit]") {
    const int threads = GENERATE(1, 3);
    TestSession session(threads);
    const TestMatrix x(21, 433, 1);
    const TestMatrix z(21, 433, 2);
    TestMatrix y(21, 433, 3);
    TestMatrix in_place = z;
    ops::add(x.view(), z.view(), y.view(), session.context);
    ops::add(x.view(), in_place.view(), session.context);
    for (std::size_t i = 0; i < y.values.size(); ++i) REQUIRE(y.values[i] == x.values[i] + z.values[i]);
    CHECK(test::same_bits(y.values, in_place.values));
    TestMatrix wide(21, 50, 4);
    const TestMatrix before = wide;
    ops::add(x.view().cols_of({0, 19}), wide.view().cols_of({30, 49}), session.context);
    for (index_t r = 0; r < 21; ++r) {
        for (index_t c = 0; c < 50; ++c) {
            const float addend = c >= 30 && c < 49 ? x.view()(r, c - 30) : 0.0F;
            REQUIRE(wide.view()(r, c) == before.view()(r, c) + addend);
        }
    }
}

TEST_CASE("reduce: every row has a factor of its own, in place or in a part of a wider matrix", "[unit]") {
    test::TestSession session(3);
    for (const index_t width : {1, 7, 64}) {
        test::TestMatrix x(37, width, 5);
        std::vector<float> factor;
        for (int r = 0; r < 37; ++r) factor.push_back(static_cast<float>(r - 18));
        test::TestMatrix wide(37, width + 2);
        ops::scale_rows(host_operand(std::span(factor)), x.view(), wide.view().cols_of({1, width + 1}),
                        session.context);
        const test::TestMatrix before = x;
        ops::scale_rows(host_operand(std::span(factor)), before.view(), x.view(), session.context);
        for (index_t r = 0; r < 37; ++r) {
            CHECK(wide.view()(r, 0) == 0.0F);
            CHECK(wide.view()(r, width + 1) == 0.0F);
            for (index_t c = 0; c < width; ++c) {
                const float expected = static_cast<float>(r - 18) * before.view()(r, c);
                REQUIRE(x.view()(r, c) == expected);
                REQUIRE(wide.view()(r, c + 1) == expected);
            }
        }
        factor.pop_back();
        CHECK_THROWS_AS(
            ops::scale_rows(host_operand(std::span(factor)), before.view(), x.view(), session.context),
            ShapeError);
    }
}

TEST_CASE("reduce: shapes that do not fit are refused", "[unit]") {
    TestSession session;
    const TestMatrix x(4, 6, 1);
    TestMatrix y(4, 5);
    std::vector<double> three(3);
    CHECK_THROWS_AS(ops::row_sums_of_squares(x.view(), host_operand(std::span(three)), session.context),
                    ShapeError);
    CHECK_THROWS_AS(ops::add(x.view(), y.view(), session.context), ShapeError);
    CHECK_THROWS_AS(ops::add(x.view(), y.view(), y.view(), session.context), ShapeError);
}
