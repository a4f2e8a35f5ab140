#include "kernels/ops/bias/bias.hpp"
#include "kernels/ops/bias/on_this_thread.hpp"

#include <utility>

#include <catch2/catch.hpp>

#include "tests/unit/kernels/numeric.hpp"

using namespace sy;
using test::relative_error;
using test::TestMatrix;
using test::TestSession;

TEST_CASE("bias: every row gets the vector, and nothing beside the matrix is touched", "[unit]") {
    const index_t rows = GENERATE(0, 1, 9, 40);
    const index_t cols = GENERATE(1, 16, 37);
    TestSession session(3);
    const TestMatrix bias(1, cols, 1);
    TestMatrix wide(rows, cols + 5, 2);
    const TestMatrix before = wide;
    TestMatrix alone = wide;
    ops::add_bias(bias.view(), wide.view().cols_of({2, 2 + cols}), session.context);
    ops::add_bias_on_this_thread(bias.values, alone.view().cols_of({2, 2 + cols}));
    for (index_t t = 0; t < rows; ++t) {
        for (index_t i = 0; i < cols + 5; ++i) {
            const bool inside = i >= 2 && i < 2 + cols;
            const float added = inside ? bias.view()(0, i - 2) : 0.0F;
            REQUIRE(wide.view()(t, i) == before.view()(t, i) + added);
        }
    }
    CHECK(test::same_bits(alone.values, wide.values));
    TestMatrix apart(rows, cols);
    ops::add_bias(before.view().cols_of({2, 2 + cols}), bias.view(), apart.view(), session.context);
    for (index_t t = 0; t < rows; ++t)
        CHECK(std::ranges::equal(apart.view().row_span(t), wide.view().cols_of({2, 2 + cols}).row_span(t)));
    CHECK_THROWS_AS(ops::add_bias(wide.view(), bias.view(), apart.view(), session.context), ShapeError);
}

namespace {

template <class In>
struct Rows {
    std::vector<In> values;
    index_t num_rows;
    index_t cols;

    Rows(index_t rows_, index_t cols_, std::uint64_t stream) : num_rows(rows_), cols(cols_) {
        const TestMatrix from(rows_, cols_, stream);
        for (const float value : from.values) values.emplace_back(value);
    }
    MatrixView<const In> view() const { return {values.data(), num_rows, cols}; }
};

}  // namespace

TEMPLATE_TEST_CASE("bias: backward sums the columns, whatever the blocks", "[unit]", float, bf16) {
    const index_t num_rows = GENERATE(0, 1, 50);
    const index_t cols = GENERATE(1, 16, 64, 128, 150);
    const index_t block_rows = GENERATE(7, 100);
    TestSession session(2);
    const Rows<TestType> dy(num_rows, cols, 1);
    std::vector<float> got(static_cast<std::size_t>(cols), 0.5F);
    std::vector<double> wanted(got.size(), 0.5);
    ops::bias_backward(dy.view(), block_rows, GradientView{got.data(), nullptr, 1, cols, nullptr},
                       session.context);
    ops::ref::bias_backward(dy.view(), std::span(wanted));
    CHECK(relative_error(got, wanted) < 1e-6);
}

TEMPLATE_TEST_CASE("bias: backward does not depend on threads; in fixed point, nor on how rows are sharded",
                   "[unit]", float, bf16) {
    constexpr index_t kCols = 150;
    const Rows<TestType> dy(96, kCols, 1);
    struct Result {
        std::vector<float> f32 = std::vector<float>(kCols, 0.0F);
        std::vector<std::int64_t> fixed = std::vector<std::int64_t>(kCols, 0);
    };
    const auto run = [&](int threads, const std::vector<Range>& parts) {
        TestSession session(threads);
        Result result;
        std::uint8_t overflow = 0;
        for (const Range part : parts) {
            const MatrixView<const TestType> rows = dy.view().rows_of(part);
            ops::bias_backward(rows, 16, GradientView{result.f32.data(), nullptr, 1, kCols, nullptr},
                               session.context);
            ops::bias_backward(rows, 16, GradientView{nullptr, result.fixed.data(), 1, kCols, &overflow},
                               session.context);
        }
        CHECK_FALSE(overflow);
        return result;
    };
    const Result whole = run(1, {{0, 96}});
    for (const int threads : {2, 3}) {
        CHECK(test::same_bits(run(threads, {{0, 96}}).f32, whole.f32));
        CHECK(run(threads, {{0, 96}}).fixed == whole.fixed);
    }
    CHECK(run(2, {{48, 96}, {0, 16}, {16, 48}}).fixed == whole.fixed);
    // The blocks do matter: other sums are rounded (those of few bf16 are exact).
    if (std::is_same_v<TestType, float>) CHECK(run(2, {{8, 96}, {0, 8}}).fixed != whole.fixed);
}

TEST_CASE("bias: shapes that do not fit are refused", "[unit]") {
    TestSession session;
    TestMatrix y(4, 8, 1);
    std::vector<float> bias(7);
    std::vector<float> sums(8);
    const GradientView gradient{sums.data(), nullptr, 1, 8, nullptr};
    const auto back = [&](const std::vector<index_t>& blocks, const GradientRef& into) {
        ops::bias_backward(std::as_const(y).view(), std::span<const index_t>(blocks), into, session.context);
    };
    CHECK_THROWS_AS(ops::add_bias(host_operand(std::span<const float>(bias)), y.view(), session.context),
                    ShapeError);
    CHECK_THROWS_AS(ops::add_bias_on_this_thread(bias, y.view()), ShapeError);
    CHECK_NOTHROW(back({0, 2, 4}, gradient));
    CHECK_THROWS_AS(back({0, 2, 4}, GradientView{sums.data(), nullptr, 1, 7, nullptr}), ShapeError);
    CHECK_THROWS_AS(back({}, gradient), ShapeError);
    CHECK_THROWS_AS(back({0, 3}, gradient), ShapeError);
    CHECK_THROWS_AS(back({1, 4}, gradient), ShapeError);
    CHECK_THROWS_AS(back({0, 3, 2, 4}, gradient), ShapeError);
    CHECK_THROWS_AS(ops::bias_backward(std::as_const(y).view(), index_t{0}, gradient, session.context),
                    ShapeError);
}
