#include "kernels/ops/norm/norm.hpp"

#include <catch2/catch.hpp>

#include "tests/unit/kernels/numeric.hpp"

using namespace sy;
using test::relative_error;
using test::TestMatrix;
using test::TestSession;

namespace {

constexpr float kEps = 1e-5F;

struct Forward {
    TestMatrix y;
    std::vector<float> rstd;
};

Forward forward(const TestMatrix& x, const TestMatrix& gain, int threads, float eps = kEps) {
    TestSession session(threads);
    Forward result{TestMatrix(x.rows, x.cols), std::vector<float>(static_cast<std::size_t>(x.rows))};
    ops::rms_norm(x.view(), gain.values, eps, result.y.view(), result.rstd, session.context);
    return result;
}

}  // namespace

TEST_CASE("norm: forward agrees with the reference at all widths", "[unit]") {
    const index_t rows = GENERATE(0, 1, 7, 65);
    const index_t cols = GENERATE(1, 15, 16, 17, 51, 256, 1000);
    const TestMatrix x(rows, cols, 1, 3.0F);
    const TestMatrix gain(1, cols, 2);
    const Forward got = forward(x, gain, 2);
    TestMatrix y(rows, cols);
    std::vector<float> rstd(static_cast<std::size_t>(rows));
    ops::ref::rms_norm(x.view(), gain.values, kEps, y.view(), rstd);
    CHECK(relative_error(got.y.values, y.values) < 1e-6);
    CHECK(relative_error(got.rstd, rstd) < 1e-6);
}

TEST_CASE("norm: a constant row becomes its sign times the gain", "[unit]") {
    TestMatrix x(2, 33);
    std::fill_n(x.values.begin(), 33, 4.0F);
    std::fill_n(x.values.begin() + 33, 33, -0.25F);
    const TestMatrix gain(1, 33, 2);
    const Forward got = forward(x, gain, 1, 0.0F);
    CHECK(got.rstd == std::vector<float>{0.25F, 4.0F});
    for (index_t i = 0; i < 33; ++i) {
        CHECK(got.y.view()(0, i) == gain.view()(0, i));
        CHECK(got.y.view()(1, i) == -gain.view()(0, i));
    }
}

TEST_CASE("norm: a row of zeros stays zero", "[unit]") {
    const Forward got = forward(TestMatrix(1, 20), TestMatrix(1, 20, 2), 1);
    for (const float value : got.y.values) CHECK(value == 0.0F);
}

TEST_CASE("norm: scaling the input by a power of two changes no bit of the output", "[unit]") {
    const TestMatrix x(9, 100, 1);
    TestMatrix scaled = x;
    for (float& value : scaled.values) value *= 1024.0F;
    const TestMatrix gain(1, 100, 2);
    CHECK(test::same_bits(forward(x, gain, 1, 0.0F).y.values, forward(scaled, gain, 1, 0.0F).y.values));
}

TEST_CASE("norm: with the residual fused in, the same bits as sum and norm one after the other", "[unit]") {
    TestSession session(2);
    const index_t cols = GENERATE(5, 16, 100);
    TestMatrix x(13, cols, 1);
    const TestMatrix residual(13, cols, 2);
    const TestMatrix gain(1, cols, 3);
    TestMatrix sum = x;
    for (std::size_t i = 0; i < sum.values.size(); ++i) sum.values[i] += residual.values[i];
    const Forward wanted = forward(sum, gain, 1);
    TestMatrix y(13, cols);
    std::vector<float> rstd(13);
    ops::add_rms_norm(x.view(), residual.view(), gain.values, kEps, x.view(), y.view(), rstd,
                      session.context);
    CHECK(test::same_bits(x.values, sum.values));
    CHECK(test::same_bits(y.values, wanted.y.values));
    CHECK(test::same_bits(rstd, wanted.rstd));
}

TEST_CASE("norm: in place and in a wider matrix, the same bits", "[unit]") {
    TestSession session(1);
    const TestMatrix x(6, 21, 1);
    const TestMatrix gain(1, 21, 2);
    const Forward wanted = forward(x, gain, 1);
    TestMatrix wide(6, 40, 7);
    const TestMatrix before = wide;
    const MatrixView<float> part = wide.view().cols_of({3, 24});
    for (index_t r = 0; r < 6; ++r)
        for (index_t c = 0; c < 21; ++c) part(r, c) = x.view()(r, c);
    std::vector<float> rstd(6);
    ops::rms_norm(part, gain.values, kEps, part, rstd, session.context);
    for (index_t r = 0; r < 6; ++r) {
        for (index_t c = 0; c < 40; ++c) {
            const bool inside = c >= 3 && c < 24;
            CHECK(wide.view()(r, c) == (inside ? wanted.y.view()(r, c - 3) : before.view()(r, c)));
        }
    }
}

TEST_CASE("norm: a row's bits do not depend on threads or on the rows beside it", "[unit]") {
    const TestMatrix x(67, 51, 1);
    const TestMatrix gain(1, 51, 2);
    const Forward whole = forward(x, gain, 1);
    CHECK(test::same_bits(forward(x, gain, 2).y.values, whole.y.values));
    CHECK(test::same_bits(forward(x, gain, 3).y.values, whole.y.values));
    for (const index_t row : {0, 9, 66}) {
        TestMatrix alone(1, 51);
        std::copy_n(x.values.begin() + row * 51, 51, alone.values.begin());
        const Forward single = forward(alone, gain, 1);
        CHECK(std::equal(single.y.values.begin(), single.y.values.end(), whole.y.values.begin() + row * 51));
    }
}

TEST_CASE("norm: backward agrees with the reference, added or overwritten, over odd blocks", "[unit]") {
    TestSession session(2);
    const index_t rows = GENERATE(0, 1, 64, 67);
    const index_t cols = GENERATE(1, 16, 51);
    const auto write = GENERATE(ops::Write::add, ops::Write::overwrite);
    const TestMatrix x(rows, cols, 1);
    const TestMatrix gain(1, cols, 2);
    const TestMatrix dy(rows, cols, 3);
    const std::vector<float> rstd = forward(x, gain, 1).rstd;
    TestMatrix dx(rows, cols, 4);
    TestMatrix wanted_dx(rows, cols, 4);
    std::vector<float> dgain(static_cast<std::size_t>(cols), 0.5F);
    std::vector<double> wanted_dgain(static_cast<std::size_t>(cols), 0.5);
    const ops::RmsNormBackward in{x.view(), gain.values, rstd, dy.view(), write, 10};
    ops::rms_norm_backward(in, dx.view(), {dgain.data(), nullptr, 1, cols, nullptr}, session.context);
    ops::ref::rms_norm_backward(in, kEps, wanted_dx.view(), wanted_dgain);
    // A single column: the direct and the shift part cancel to what eps leaves.
    CHECK(relative_error(dx.values, wanted_dx.values) <
          (cols == 1 && write == ops::Write::overwrite ? 5e-2 : 1e-5));
    CHECK(relative_error(dgain, wanted_dgain) < 1e-5);
}

TEST_CASE("norm: backward agrees with finite differences", "[unit]") {
    TestSession session(1);
    constexpr index_t kRows = 3;
    constexpr index_t kCols = 19;
    const TestMatrix x(kRows, kCols, 1);
    const TestMatrix gain(1, kCols, 2);
    const TestMatrix dy(kRows, kCols, 3);
    const auto loss = [&](const std::vector<double>& inputs, const std::vector<double>& gains) {
        double total = 0.0;
        for (std::size_t t = 0; t < kRows; ++t) {
            double squares = 0.0;
            for (std::size_t i = 0; i < kCols; ++i) squares += inputs[t * kCols + i] * inputs[t * kCols + i];
            const double rstd = 1.0 / std::sqrt(squares / kCols + static_cast<double>(kEps));
            for (std::size_t i = 0; i < kCols; ++i)
                total +=
                    static_cast<double>(dy.values[t * kCols + i]) * inputs[t * kCols + i] * rstd * gains[i];
        }
        return total;
    };
    const std::vector<double> wide_x = test::widened(x.values);
    const std::vector<double> wide_gain = test::widened(gain.values);
    TestMatrix dx(kRows, kCols, 9);
    std::vector<float> dgain(kCols, 0.0F);
    const std::vector<float> rstd = forward(x, gain, 1).rstd;
    ops::rms_norm_backward({x.view(), gain.values, rstd, dy.view(), ops::Write::overwrite, 2}, dx.view(),
                           {dgain.data(), nullptr, 1, kCols, nullptr}, session.context);
    CHECK(relative_error(dx.values, test::numeric_gradient(
                                        wide_x, [&](const auto& at) { return loss(at, wide_gain); })) < 2e-6);
    CHECK(relative_error(dgain, test::numeric_gradient(
                                    wide_gain, [&](const auto& at) { return loss(wide_x, at); })) < 2e-6);
}

TEST_CASE("norm: backward does not depend on threads; in fixed point, nor on how rows are dealt out",
          "[unit]") {
    constexpr index_t kRows = 96;
    constexpr index_t kCols = 35;
    const TestMatrix x(kRows, kCols, 1);
    const TestMatrix gain(1, kCols, 2);
    const TestMatrix dy(kRows, kCols, 3);
    const std::vector<float> rstd = forward(x, gain, 1).rstd;
    struct Result {
        TestMatrix dx{kRows, kCols};
        std::vector<float> dgain = std::vector<float>(kCols, 0.0F);
        std::vector<std::int64_t> fixed = std::vector<std::int64_t>(kCols, 0);
        bool overflow = false;
    };
    const auto run = [&](int threads, const std::vector<Range>& parts) {
        TestSession session(threads, NumericsMode::reproducible);
        Result result;
        for (const Range part : parts) {
            const auto first = static_cast<std::size_t>(part.begin);
            const ops::RmsNormBackward in{
                x.view().rows_of(part),
                gain.values,
                std::span(rstd).subspan(first, static_cast<std::size_t>(part.size())),
                dy.view().rows_of(part),
                ops::Write::overwrite,
                16};
            const MatrixView<float> dx = result.dx.view().rows_of(part);
            ops::rms_norm_backward(in, dx, {result.dgain.data(), nullptr, 1, kCols, nullptr},
                                   session.context);
            ops::rms_norm_backward(in, dx, {nullptr, result.fixed.data(), 1, kCols, &result.overflow},
                                   session.context);
        }
        CHECK_FALSE(result.overflow);
        return result;
    };
    const Result whole = run(1, {{0, kRows}});
    for (const int threads : {2, 3}) {
        const Result other = run(threads, {{0, kRows}});
        CHECK(test::same_bits(other.dx.values, whole.dx.values));
        CHECK(test::same_bits(other.dgain, whole.dgain));
        CHECK(other.fixed == whole.fixed);
    }
    const Result dealt = run(2, {{48, 96}, {0, 16}, {16, 48}});
    CHECK(test::same_bits(dealt.dx.values, whole.dx.values));
    CHECK(dealt.fixed == whole.fixed);
}

TEST_CASE("norm: shapes that do not fit are refused", "[unit]") {
    TestSession session;
    const TestMatrix x(4, 8, 1);
    TestMatrix y(4, 8);
    TestMatrix narrow_y(4, 7);
    std::vector<float> gain(8, 1.0F);
    std::vector<float> rstd(4);
    const std::span<float> short_rstd = std::span(rstd).first(3);
    CHECK_THROWS_AS(ops::rms_norm(x.view(), gain, kEps, narrow_y.view(), rstd, session.context), LogicError);
    CHECK_THROWS_AS(ops::rms_norm(x.view(), gain, kEps, y.view(), short_rstd, session.context), LogicError);
    CHECK_THROWS_AS(ops::rms_norm(x.view(), std::span(gain).first(7), kEps, y.view(), rstd, session.context),
                    LogicError);
    CHECK_THROWS_AS(
        ops::add_rms_norm(x.view(), narrow_y.view(), gain, kEps, y.view(), y.view(), rstd, session.context),
        LogicError);
    const ops::RmsNormBackward in{x.view(), gain, rstd, x.view(), ops::Write::add, 2};
    const GradientView dgain{gain.data(), nullptr, 1, 8, nullptr};
    CHECK_THROWS_AS(ops::rms_norm_backward(in, narrow_y.view(), dgain, session.context), LogicError);
    CHECK_THROWS_AS(
        ops::rms_norm_backward(in, y.view(), {gain.data(), nullptr, 1, 7, nullptr}, session.context),
        LogicError);
    ops::RmsNormBackward no_blocks = in;
    no_blocks.block_rows = 0;
    CHECK_THROWS_AS(ops::rms_norm_backward(no_blocks, y.view(), dgain, session.context), LogicError);
}
