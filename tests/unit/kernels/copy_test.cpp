#include "kernels/ops/copy/copy.hpp"

#include <catch2/catch.hpp>

#include "tests/unit/kernels/numeric.hpp"

using namespace sy;
using test::TestMatrix;
using test::TestSession;

TEST_CASE("copy: columns of wider rows go where they are wanted, and nothing beside them changes", "[unit]") {
    const index_t rows = GENERATE(0, 1, 40);
    const index_t cols = GENERATE(0, 1, 16, 23);
    const int threads = GENERATE(1, 3);
    TestSession session(threads);
    const TestMatrix x(rows, 30, 1);
    TestMatrix got(rows, 50, 2);
    TestMatrix wanted = got;
    const MatrixView<const float> from = x.view().cols_of({3, 3 + cols});
    ops::copy(from, got.view().cols_of({4, 4 + cols}), session.context);
    ops::ref::copy(from, wanted.view().cols_of({4, 4 + cols}));
    CHECK(test::same_bits(got.values, wanted.values));
    for (index_t r = 0; r < rows; ++r) {
        for (index_t c = 0; c < cols; ++c) REQUIRE(got.view()(r, 4 + c) == x.view()(r, 3 + c));
    }
}

TEST_CASE("copy: a row of each of several matrices is a view of rows that lie apart", "[unit]") {
    TestSession session(2);
    const TestMatrix fresh(3, 5, 1);
    TestMatrix caches(3 * 4, 5, 2);
    const TestMatrix before = caches;
    const MatrixView<float> third(caches.values.data() + 2 * 5, 3, 5, 4 * 5);
    ops::copy(fresh.view(), third, session.context);
    for (index_t r = 0; r < caches.rows; ++r) {
        for (index_t c = 0; c < 5; ++c)
            REQUIRE(caches.view()(r, c) == (r % 4 == 2 ? fresh.view()(r / 4, c) : before.view()(r, c)));
    }
}

TEST_CASE("copy: fill sets every element and none behind them", "[unit]") {
    const std::size_t count = GENERATE(0U, 1U, 4096U, 9001U);
    TestSession session(3);
    std::vector<float> values(count + 1, 1.0F);
    ops::fill(-0.0F, host_operand(std::span(values).first(count)), session.context);
    std::vector<float> wanted(count, -0.0F);
    wanted.push_back(1.0F);
    CHECK(test::same_bits(values, wanted));
}

TEST_CASE("copy: shapes that differ are refused", "[unit]") {
    TestSession session;
    const TestMatrix x(4, 6, 1);
    TestMatrix turned(6, 4);
    TestMatrix narrow(4, 5);
    CHECK_THROWS_AS(ops::copy(x.view(), turned.view(), session.context), ShapeError);
    CHECK_THROWS_AS(ops::copy(x.view(), narrow.view(), session.context), ShapeError);
}

TEST_CASE("copy: fill sets every element of a matrix and none beside it", "[unit]") {
    TestSession session(2);
    TestMatrix wide(20, 9, 1);
    const TestMatrix before = wide;
    ops::fill(0.5F, wide.view().cols_of({2, 7}), session.context);
    for (index_t r = 0; r < 20; ++r) {
        for (index_t c = 0; c < 9; ++c)
            REQUIRE(wide.view()(r, c) == (c >= 2 && c < 7 ? 0.5F : before.view()(r, c)));
    }
}
