#include "kernels/ops/embedding/embedding.hpp"

#include <catch2/catch.hpp>

#include "tests/unit/kernels/numeric.hpp"

using namespace sy;
using test::TestMatrix;
using test::TestSession;

namespace {

/// Every third id the same, so that rows of the gradient meet often.
std::vector<std::int32_t> some_ids(index_t count, std::int32_t vocabulary) {
    std::vector<std::int32_t> ids;
    for (index_t t = 0; t < count; ++t)
        ids.push_back(t % 3 == 0 ? 1 % vocabulary : static_cast<std::int32_t>(t * 7) % vocabulary);
    return ids;
}

struct Sums {
    std::vector<float> f32;
    std::vector<std::int64_t> fixed;
    std::uint8_t overflow = 0;
};

/// Gradients of both kinds, started from 0.25 and 0, over the given parts of the tokens.
Sums backward(const std::vector<std::int32_t>& ids, const TestMatrix& dout, index_t vocabulary, int threads,
              const std::vector<Range>& parts) {
    TestSession session(threads);
    Sums sums;
    sums.f32.assign(static_cast<std::size_t>(vocabulary * dout.cols), 0.25F);
    sums.fixed.assign(sums.f32.size(), 0);
    for (const Range part : parts) {
        const auto some = std::span(ids).subspan(static_cast<std::size_t>(part.begin),
                                                 static_cast<std::size_t>(part.size()));
        const MatrixView<const float> rows = dout.view().rows_of(part);
        ops::embedding_backward(some, rows,
                                GradientView{sums.f32.data(), nullptr, vocabulary, dout.cols, nullptr},
                                session.context);
        ops::embedding_backward(
            some, rows, GradientView{nullptr, sums.fixed.data(), vocabulary, dout.cols, &sums.overflow},
            session.context);
    }
    return sums;
}

}  // namespace

TEST_CASE("embedding: rows are copied, and bf16 rows widened, without rounding", "[unit]") {
    const index_t tokens = GENERATE(0, 1, 50);
    const index_t cols = GENERATE(1, 16, 37);
    const int threads = GENERATE(1, 3);
    TestSession session(threads);
    const TestMatrix table(9, cols, 1);
    std::vector<bf16> narrow;
    for (const float value : table.values) narrow.emplace_back(value);
    const auto ids = some_ids(tokens, 9);
    TestMatrix out(tokens, cols, 2);
    TestMatrix from_narrow(tokens, cols, 2);
    ops::embedding(table.view(), ids, out.view(), session.context);
    ops::embedding(MatrixView<const bf16>(narrow.data(), 9, cols), ids, from_narrow.view(), session.context);
    for (index_t t = 0; t < tokens; ++t) {
        const index_t id = ids[static_cast<std::size_t>(t)];
        for (index_t i = 0; i < cols; ++i) {
            REQUIRE(out.view()(t, i) == table.view()(id, i));
            REQUIRE(from_narrow.view()(t, i) == static_cast<float>(bf16(table.view()(id, i))));
        }
    }
}

TEST_CASE("embedding: backward adds the rows of equal ids, in order of position", "[unit]") {
    const index_t tokens = GENERATE(0, 1, 61);
    const index_t cols = GENERATE(1, 64, 70, 200);
    const auto ids = some_ids(tokens, 9);
    const TestMatrix dout(tokens, cols, 1);
    const Sums sums = backward(ids, dout, 9, 2, {{0, tokens}});
    // The documented order leaves one possible result.
    std::vector<float> wanted(static_cast<std::size_t>(9 * cols), 0.25F);
    std::vector<double> reference(wanted.size(), 0.0);
    ops::ref::embedding_backward(ids, dout.view(), {reference.data(), 9, cols});
    for (index_t t = 0; t < tokens; ++t) {
        for (index_t i = 0; i < cols; ++i)
            wanted[static_cast<std::size_t>(ids[static_cast<std::size_t>(t)] * cols + i)] +=
                dout.view()(t, i);
    }
    CHECK(test::same_bits(sums.f32, wanted));
    CHECK_FALSE(sums.overflow);
    std::vector<float> rounded(wanted.size());
    from_fixed_point(sums.fixed, rounded);
    for (std::size_t i = 0; i < rounded.size(); ++i)
        REQUIRE(static_cast<double>(rounded[i]) == Approx(reference[i]).epsilon(1e-7).margin(1e-11));
}

TEST_CASE("embedding: backward does not depend on threads; in fixed point, nor on how tokens are dealt out",
          "[unit]") {
    const auto ids = some_ids(90, 11);
    const TestMatrix dout(90, 200, 1);
    const Sums whole = backward(ids, dout, 11, 1, {{0, 90}});
    for (const int threads : {2, 3}) {
        const Sums other = backward(ids, dout, 11, threads, {{0, 90}});
        CHECK(test::same_bits(other.f32, whole.f32));
        CHECK(other.fixed == whole.fixed);
    }
    const Sums dealt = backward(ids, dout, 11, 2, {{70, 90}, {0, 33}, {33, 70}});
    CHECK(dealt.fixed == whole.fixed);
    CHECK_FALSE(test::same_bits(dealt.f32, whole.f32));
}

TEST_CASE("embedding: ids outside the vocabulary are named and nothing is written", "[unit]") {
    TestSession session(2);
    const TestMatrix table(5, 4, 1);
    TestMatrix out(3, 4, 2);
    const TestMatrix before = out;
    std::vector<float> gradient(20, 0.0F);
    const std::int32_t bad = GENERATE(-1, 5, 2000000000);
    const std::vector<std::int32_t> ids{0, 1, bad};
    CHECK_THROWS_AS(ops::embedding(table.view(), ids, out.view(), session.context), ShapeError);
    CHECK_THROWS_WITH(ops::embedding(table.view(), ids, out.view(), session.context),
                      Catch::Contains(std::to_string(bad)) && Catch::Contains("position 2"));
    CHECK_THROWS_AS(
        ops::embedding_backward(ids, out.view(), GradientView{gradient.data(), nullptr, 5, 4, nullptr},
                                session.context),
        ShapeError);
    CHECK(test::same_bits(out.values, before.values));
    CHECK(gradient == std::vector<float>(20, 0.0F));
}

TEST_CASE("embedding: shapes that do not fit are refused", "[unit]") {
    TestSession session;
    const TestMatrix table(5, 4, 1);
    TestMatrix narrow(2, 3);
    TestMatrix out(2, 4);
    std::vector<float> gradient(20);
    const std::vector<std::int32_t> ids{0, 1};
    const std::vector<std::int32_t> more{0, 1, 2};
    CHECK_THROWS_AS(ops::embedding(table.view(), ids, narrow.view(), session.context), ShapeError);
    CHECK_THROWS_AS(ops::embedding(table.view(), more, out.view(), session.context), ShapeError);
    const GradientView view{gradient.data(), nullptr, 5, 4, nullptr};
    CHECK_THROWS_AS(ops::embedding_backward(ids, narrow.view(), view, session.context), ShapeError);
    CHECK_THROWS_AS(ops::embedding_backward(more, out.view(), view, session.context), ShapeError);
}

TEST_CASE("embedding: positions add the rows of their table, and its gradient is that of the rows",
          "[unit]") {
    const index_t cols = GENERATE(1, 16, 37);
    TestSession session(3);
    const TestMatrix table(9, cols, 1);
    std::vector<bf16> narrow;
    for (const float value : table.values) narrow.emplace_back(value);
    const auto positions = some_ids(50, 9);
    const TestMatrix before(50, cols, 2);
    TestMatrix x = before;
    TestMatrix from_narrow = before;
    ops::add_positions(table.view(), positions, x.view(), session.context);
    ops::add_positions(MatrixView<const bf16>(narrow.data(), 9, cols), positions, from_narrow.view(),
                       session.context);
    for (index_t t = 0; t < 50; ++t) {
        const index_t position = positions[static_cast<std::size_t>(t)];
        for (index_t i = 0; i < cols; ++i) {
            const float value = table.view()(position, i);
            REQUIRE(x.view()(t, i) == before.view()(t, i) + value);
            REQUIRE(from_narrow.view()(t, i) == before.view()(t, i) + static_cast<float>(bf16(value)));
        }
    }
    // The loss sum(dout * x) by the table.
    const TestMatrix dout(50, cols, 3);
    const auto loss = [&](const std::vector<double>& values) {
        double total = 0.0;
        for (std::size_t i = 0; i < dout.values.size(); ++i) {
            const auto t = i / static_cast<std::size_t>(cols);
            const auto row = static_cast<std::size_t>(positions[t] * cols);
            total += static_cast<double>(dout.values[i]) * values[row + i % static_cast<std::size_t>(cols)];
        }
        return total;
    };
    std::vector<float> gradient(table.values.size(), 0.0F);
    ops::embedding_backward(positions, dout.view(), GradientView{gradient.data(), nullptr, 9, cols, nullptr},
                            session.context);
    CHECK(test::relative_error(gradient, test::numeric_gradient(test::widened(table.values), loss)) < 1e-6);
}

TEST_CASE("embedding: positions outside the table and shapes that do not fit are refused", "[unit]") {
    TestSession session(2);
    const TestMatrix table(5, 4, 1);
    TestMatrix x(3, 4, 2);
    TestMatrix narrow(3, 3);
    const TestMatrix before = x;
    const std::vector<std::int32_t> good{0, 1, 4};
    const std::vector<std::int32_t> bad{0, 1, GENERATE(-1, 5)};
    CHECK_THROWS_AS(ops::add_positions(table.view(), bad, x.view(), session.context), ShapeError);
    CHECK_THROWS_WITH(ops::add_positions(table.view(), bad, x.view(), session.context),
                      Catch::Contains("id " + std::to_string(bad[2])) && Catch::Contains("5 rows"));
    CHECK_THROWS_AS(ops::add_positions(table.view(), good, narrow.view(), session.context), ShapeError);
    CHECK_THROWS_AS(ops::add_positions(table.view(), std::span(good).first(2), x.view(), session.context),
                    ShapeError);
    CHECK(test::same_bits(x.values, before.values));
}

TEST_CASE("embedding: the sine table holds sine and cosine of the position at falling frequencies",
          "[unit]") {
    const index_t cols = GENERATE(1, 2, 7, 64);
    TestSession session(3);
    TestMatrix table(300, cols, 1);
    ops::sine_table(table.view(), session.context);
    for (index_t p = 0; p < 300; ++p) {
        for (index_t i = 0; i < cols; ++i) {
            const long double pair = static_cast<long double>(i / 2);
            const long double angle = static_cast<long double>(p) /
                                      std::pow(10000.0L, 2.0L * pair / static_cast<long double>(cols));
            const long double wanted = i % 2 == 0 ? std::sin(angle) : std::cos(angle);
            REQUIRE(static_cast<double>(table.view()(p, i)) ==
                    Approx(static_cast<double>(wanted)).epsilon(1e-7).margin(1e-12));
        }
    }
    CHECK(table.view()(0, 0) == 0.0F);
    CHECK(table.view()(1, 0) == static_cast<float>(std::sin(1.0)));
    if (cols > 1) CHECK(table.view()(0, 1) == 1.0F);
}
