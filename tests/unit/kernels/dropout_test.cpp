#include "kernels/ops/dropout/dropout.hpp"

#include <catch2/catch.hpp>

#include "kernels/ops/dropout/keep.hpp"
#include "tests/unit/kernels/numeric.hpp"

using namespace sy;
using test::TestMatrix;
using test::TestSession;

namespace {

constexpr RandomKey kKey{77, 5, 3, RandomPurpose::dropout};

TestMatrix dropped(const TestMatrix& x, index_t first_row, float probability, int threads = 1) {
    TestSession session(threads);
    TestMatrix y(x.rows, x.cols, 9);
    ops::dropout(x.view(), kKey, first_row, probability, y.view(), session.context);
    return y;
}

}  // namespace

TEST_CASE("dropout: agrees with the reference, element by element, wherever it starts", "[unit]") {
    const index_t cols = GENERATE(1, 3, 64, 77, 512);
    const index_t first_row = GENERATE(0, 1, 123456789);
    const float probability = GENERATE(0.0F, 0.1F, 0.5F, 0.9F);
    const int threads = GENERATE(1, 3);
    const TestMatrix x(19, cols, 1);
    TestMatrix wanted(19, cols);
    ops::ref::dropout(x.view(), kKey, first_row, probability, wanted.view());
    const TestMatrix got = dropped(x, first_row, probability, threads);
    for (std::size_t i = 0; i < x.values.size(); ++i) {
        REQUIRE((got.values[i] == 0.0F) == (wanted.values[i] == 0.0F));
        REQUIRE(got.values[i] == Approx(wanted.values[i]).epsilon(3e-7));
    }
}

TEST_CASE("dropout: nothing is dropped at probability 0, and what stays is scaled exactly at a half",
          "[unit]") {
    const TestMatrix x(11, 33, 1);
    CHECK(test::same_bits(dropped(x, 5, 0.0F).values, x.values));
    const TestMatrix half = dropped(x, 5, 0.5F);
    for (std::size_t i = 0; i < x.values.size(); ++i)
        REQUIRE((half.values[i] == 0.0F || half.values[i] == 2.0F * x.values[i]));
}

TEST_CASE("dropout: the share of what is dropped is the probability", "[unit]") {
    TestMatrix ones(400, 500);
    std::fill(ones.values.begin(), ones.values.end(), 1.0F);
    for (const float probability : {0.01F, 0.1F, 0.25F, 0.8F}) {
        const TestMatrix y = dropped(ones, 7, probability);
        const double count = 200000.0;
        const auto zeros = static_cast<double>(std::count(y.values.begin(), y.values.end(), 0.0F));
        const double p = static_cast<double>(probability);
        // Five standard errors.
        CHECK(zeros / count == Approx(p).margin(5.0 * std::sqrt(p * (1.0 - p) / count)));
    }
}

TEST_CASE("dropout: the integer threshold is the comparison of uniform numbers", "[unit]") {
    for (const float probability : {1e-9F, 0x1p-24F, 0x1p-23F, 0x1.8p-23F, 0.3F, 0.5F, 1.0F - 0x1p-24F}) {
        const std::uint32_t around = ops::detail::keep_rule(probability).threshold;
        for (std::uint32_t cell = around < 3 ? 0 : around - 3; cell < std::min(around + 3, 1U << 23); ++cell)
            CHECK((cell < around) == (uniform_from(cell << 9 | 0x1ffU) < probability));
    }
}

TEST_CASE("dropout: factors are those of the scalar generator, up to the ends of the probabilities",
          "[unit]") {
    for (const float probability : {0.0F, 1e-9F, 0.3F, 1.0F - 0x1p-24F}) {
        const ops::detail::KeepRule rule = ops::detail::keep_rule(probability);
        for (const std::uint64_t draw : {0UL, 5UL, (1UL << 32) - 7UL, 1UL << 50}) {
            float factors[64];
            ops::detail::keep_factors(rule, kKey, draw, factors);
            for (std::uint64_t i = 0; i < 64; ++i)
                REQUIRE(factors[i] == (uniform(kKey, 4 * draw + i) < probability ? 0.0F : rule.factor));
        }
    }
}

TEST_CASE("dropout: does not depend on how rows are sharded, runs in place, and is its own backward",
          "[unit]") {
    const TestMatrix x(30, 50, 1);
    const TestMatrix whole = dropped(x, 100, 0.3F, 2);
    TestSession session(2);
    TestMatrix in_place = x;
    const MatrixView<float> last = in_place.view().rows_of({11, 30});
    const MatrixView<float> first = in_place.view().rows_of({0, 11});
    ops::dropout(last, kKey, 111, 0.3F, last, session.context);
    ops::dropout(first, kKey, 100, 0.3F, first, session.context);
    CHECK(test::same_bits(in_place.values, whole.values));
    TestMatrix ones(30, 50);
    std::fill(ones.values.begin(), ones.values.end(), 1.0F);
    const TestMatrix derivative = dropped(ones, 100, 0.3F);
    for (std::size_t i = 0; i < x.values.size(); ++i)
        REQUIRE(whole.values[i] == x.values[i] * derivative.values[i]);
    RandomKey other = kKey;
    other.step = 6;
    TestMatrix next(30, 50);
    ops::dropout(x.view(), other, 100, 0.3F, next.view(), session.context);
    CHECK_FALSE(test::same_bits(next.values, whole.values));
}

TEMPLATE_TEST_CASE("dropout_rows: rows from anywhere, each with its own place in the stream", "[unit]", float,
                   bf16) {
    constexpr index_t kCols = 37;
    const TestMatrix x(6, kCols, 1);
    const std::vector<std::int32_t> source{3, 0, 0, 5, 3};
    const std::vector<index_t> stream_row{1000003, 0, 7, 7, 2};
    std::vector<TestType> in;
    for (const float value : x.values) in.push_back(TestType(value));
    std::vector<TestType> out(5 * kCols);
    TestSession session(GENERATE(1, 3));
    const MatrixView<const TestType> from(in.data(), 6, kCols);
    const MatrixView<TestType> to(out.data(), 5, kCols);
    ops::dropout_rows(from, {kKey, 0.3F, stream_row, source}, to, session.context);
    for (std::size_t i = 0; i < 5; ++i) {
        for (index_t h = 0; h < kCols; ++h) {
            const auto element = static_cast<std::uint64_t>(stream_row[i] * kCols + h);
            const float value = static_cast<float>(from(source[i], h)) * (1.0F / (1.0F - 0.3F));
            const float wanted = uniform(kKey, element) < 0.3F ? 0.0F : static_cast<float>(TestType(value));
            REQUIRE(static_cast<float>(out[i * kCols + static_cast<std::size_t>(h)]) == wanted);
        }
    }
    // In place, where every row is its own source.
    std::vector<TestType> same = in;
    const std::vector<index_t> all_rows{5, 4, 3, 2, 1, 0};
    const MatrixView<TestType> place(same.data(), 6, kCols);
    ops::dropout_rows(place, {kKey, 0.3F, all_rows, {}}, place, session.context);
    for (std::size_t h = 0; h < kCols; ++h) {
        const float value = static_cast<float>(in[h]) * (1.0F / (1.0F - 0.3F));
        const float wanted = uniform(kKey, 5 * kCols + h) < 0.3F ? 0.0F : static_cast<float>(TestType(value));
        REQUIRE(static_cast<float>(same[h]) == wanted);
    }
    const std::vector<std::int32_t> all_bad{0, 1, 2, 3, 6};
    const auto drop = [&](const ops::DropoutRows& rows) {
        ops::dropout_rows(from, rows, to, session.context);
    };
    CHECK_THROWS_AS(drop({kKey, 1.0F, stream_row, source}), LogicError);
    CHECK_THROWS_AS(drop({kKey, 0.3F, all_rows, source}), ShapeError);
    CHECK_THROWS_AS(drop({kKey, 0.3F, stream_row, {}}), ShapeError);
    CHECK_THROWS_AS(drop({kKey, 0.3F, stream_row, all_bad}), ShapeError);
}

TEST_CASE("dropout: shapes, rows and probabilities that make no sense are refused", "[unit]") {
    TestSession session;
    const TestMatrix x(3, 4, 1);
    TestMatrix y(3, 4);
    TestMatrix other(2, 4);
    CHECK_THROWS_AS(ops::dropout(x.view(), kKey, 0, 0.5F, other.view(), session.context), ShapeError);
    CHECK_THROWS_AS(ops::dropout(x.view(), kKey, -1, 0.5F, y.view(), session.context), ShapeError);
    CHECK_THROWS_AS(ops::dropout(x.view(), kKey, 0, 1.0F, y.view(), session.context), LogicError);
    CHECK_THROWS_AS(ops::dropout(x.view(), kKey, 0, -0.1F, y.view(), session.context), LogicError);
}
