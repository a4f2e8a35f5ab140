#include "kernels/ops/rotary/rotary.hpp"

#include <catch2/catch.hpp>

#include "tests/unit/kernels/numeric.hpp"

using namespace sy;
using test::relative_error;
using test::TestMatrix;
using test::TestSession;

namespace {

std::vector<std::int32_t> positions(index_t count, std::int32_t step) {
    std::vector<std::int32_t> position;
    for (index_t t = 0; t < count; ++t) position.push_back(static_cast<std::int32_t>(t) * step);
    return position;
}

void rotate(TestMatrix& x, index_t head_dim, const std::vector<std::int32_t>& position,
            ops::Direction direction, int threads = 1) {
    TestSession session(threads);
    const ops::RotaryTable table(512, {head_dim, 10000.0});
    ops::rotary(x.view(), head_dim, position, table, direction, session.context);
}

double dot(const std::vector<float>& a, const std::vector<float>& b) {
    double total = 0.0;
    for (std::size_t i = 0; i < a.size(); ++i) total += static_cast<double>(a[i]) * static_cast<double>(b[i]);
    return total;
}

}  // namespace

TEST_CASE("rotary: agrees with the reference for all head widths, both ways", "[unit]") {
    const index_t rows = GENERATE(0, 1, 19);
    const index_t head_dim = GENERATE(2, 6, 32, 40, 64);
    const auto direction = GENERATE(ops::Direction::forward, ops::Direction::backward);
    TestMatrix x(rows, 3 * head_dim, 1);
    TestMatrix wanted = x;
    const auto position = positions(rows, 27);
    rotate(x, head_dim, position, direction, 2);
    ops::ref::rotary(wanted.view(), head_dim, position, {head_dim, 10000.0}, direction);
    CHECK(relative_error(x.values, wanted.values) < 5e-7);
}

TEST_CASE("rotary: a quarter turn of one pair, from the definition", "[unit]") {
    // With theta = 1 every pair turns by its position in radians.
    const ops::RotaryTable table(4, {4, 1.0});
    TestSession session;
    std::vector<float> row{1.0F, 2.0F, 3.0F, 4.0F};
    const std::vector<std::int32_t> position{3};
    ops::rotary(host_operand(std::span(row)), 4, position, table, ops::Direction::forward, session.context);
    const double c = std::cos(3.0);
    const double s = std::sin(3.0);
    CHECK(static_cast<double>(row[0]) == Approx(1.0 * c - 3.0 * s));
    CHECK(static_cast<double>(row[1]) == Approx(2.0 * c - 4.0 * s));
    CHECK(static_cast<double>(row[2]) == Approx(3.0 * c + 1.0 * s));
    CHECK(static_cast<double>(row[3]) == Approx(4.0 * c + 2.0 * s));
}

TEST_CASE("rotary: position 0 changes no bit, others do", "[unit]") {
    TestMatrix x(2, 24, 1);
    const TestMatrix before = x;
    rotate(x, 12, {0, 1}, ops::Direction::forward);
    CHECK(std::equal(x.values.begin(), x.values.begin() + 24, before.values.begin()));
    CHECK_FALSE(std::equal(x.values.begin() + 24, x.values.end(), before.values.begin() + 24));
}

TEST_CASE("rotary: the length of every pair is kept", "[unit]") {
    TestMatrix x(11, 20, 1);
    const TestMatrix before = x;
    rotate(x, 20, positions(11, 45), ops::Direction::forward);
    for (index_t t = 0; t < 11; ++t) {
        for (index_t i = 0; i < 10; ++i) {
            const auto length = [&](const TestMatrix& m) {
                return std::hypot(static_cast<double>(m.view()(t, i)),
                                  static_cast<double>(m.view()(t, i + 10)));
            };
            CHECK(length(x) == Approx(length(before)).epsilon(1e-6));
        }
    }
}

TEST_CASE("rotary: backward undoes forward and is its transpose", "[unit]") {
    const auto position = positions(13, 31);
    const TestMatrix x(13, 36, 1);
    const TestMatrix dy(13, 36, 2);
    TestMatrix y = x;
    rotate(y, 12, position, ops::Direction::forward);
    TestMatrix dx = dy;
    rotate(dx, 12, position, ops::Direction::backward);
    // <R x, dy> = <x, R^T dy>: what a backward has to satisfy.
    CHECK(dot(y.values, dy.values) == Approx(dot(x.values, dx.values)).epsilon(1e-5));
    rotate(y, 12, position, ops::Direction::backward);
    CHECK(relative_error(y.values, x.values) < 5e-7);
}

TEST_CASE("rotary: products of queries and keys depend on the distance alone", "[unit]") {
    const TestMatrix q(1, 32, 1);
    const TestMatrix k(1, 32, 2);
    const auto score = [&](std::int32_t q_position, std::int32_t k_position) {
        TestMatrix rotated_q = q;
        TestMatrix rotated_k = k;
        rotate(rotated_q, 32, {q_position}, ops::Direction::forward);
        rotate(rotated_k, 32, {k_position}, ops::Direction::forward);
        return dot(rotated_q.values, rotated_k.values);
    };
    CHECK(score(9, 4) == Approx(score(405, 400)).epsilon(1e-4));
    CHECK(score(9, 4) != Approx(score(9, 5)).epsilon(1e-4));
}

TEST_CASE("rotary: bits do not depend on threads, and columns beside the view are left alone", "[unit]") {
    const auto position = positions(50, 7);
    TestMatrix one(50, 24, 1);
    TestMatrix three = one;
    rotate(one, 12, position, ops::Direction::forward, 1);
    rotate(three, 12, position, ops::Direction::forward, 3);
    CHECK(test::same_bits(one.values, three.values));
    TestSession session;
    TestMatrix wide(50, 40, 5);
    const TestMatrix before = wide;
    const TestMatrix original(50, 24, 1);
    const MatrixView<float> part = wide.view().cols_of({8, 32});
    for (index_t t = 0; t < 50; ++t)
        for (index_t i = 0; i < 24; ++i) part(t, i) = original.view()(t, i);
    const ops::RotaryTable table(512, {12, 10000.0});
    ops::rotary(part, 12, position, table, ops::Direction::forward, session.context);
    for (index_t t = 0; t < 50; ++t) {
        for (index_t i = 0; i < 40; ++i) {
            const bool inside = i >= 8 && i < 32;
            REQUIRE(wide.view()(t, i) == (inside ? one.view()(t, i - 8) : before.view()(t, i)));
        }
    }
}

TEST_CASE("rotary: odd heads, foreign tables and positions outside the table are refused", "[unit]") {
    TestSession session;
    CHECK_THROWS_AS(ops::RotaryTable(4, {5, 10000.0}), LogicError);
    CHECK_THROWS_AS(ops::RotaryTable(4, {0, 10000.0}), LogicError);
    const ops::RotaryTable table(4, {6, 10000.0});
    TestMatrix x(2, 12, 1);
    const TestMatrix before = x;
    const auto run = [&](index_t head_dim, const std::vector<std::int32_t>& position) {
        ops::rotary(x.view(), head_dim, position, table, ops::Direction::forward, session.context);
    };
    CHECK_THROWS_AS(run(4, {0, 1}), ShapeError);
    CHECK_THROWS_AS(run(6, {0}), ShapeError);
    CHECK_THROWS_AS(run(6, {1, 4}), ShapeError);
    CHECK_THROWS_AS(run(6, {1, -1}), ShapeError);
    CHECK(test::same_bits(x.values, before.values));
}
