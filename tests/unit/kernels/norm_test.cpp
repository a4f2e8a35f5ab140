#include "kernels/ops/norm/norm.hpp"

#include <catch2/catch.hpp>

#include <algorithm>
#include <limits>

#include "tests/unit/kernels/numeric.hpp"

using namespace sy;
using test::relative_error;
using test::TestMatrix;
using test::TestSession;

namespace {

constexpr float kEps = 1e-5F;
enum class Biased { no, yes };

struct Forward {
    TestMatrix y;
    std::vector<float> rstd;
    std::vector<float> mean;

    /// What backward takes.
    ops::NormBackward backward(const TestMatrix& x, const TestMatrix& dy, Write write,
                               index_t block_rows) const {
        return {x.view(),  host_operand(std::span(rstd)), host_operand(std::span(mean)), dy.view(), write,
                block_rows};
    }
};

std::vector<float> room_for_mean(ops::NormKind kind, index_t rows) {
    return std::vector<float>(kind == ops::NormKind::layer ? static_cast<std::size_t>(rows) : 0);
}

Forward forward(const ops::Norm& rule, MatrixView<const float> x, int threads) {
    TestSession session(threads);
    Forward result{TestMatrix(x.rows, x.cols), std::vector<float>(static_cast<std::size_t>(x.rows)),
                   room_for_mean(rule.kind, x.rows)};
    ops::norm(rule, x, result.y.view(),
              {host_operand(std::span(result.rstd)), host_operand(std::span(result.mean))}, session.context);
    return result;
}

/// A gain and, if wanted, a bias, with the rule that borrows them.
struct Rule {
    TestMatrix gain;
    TestMatrix bias;
    ops::Norm norm;

    Rule(ops::NormKind kind, Biased biased, index_t cols, float eps = kEps)
        : gain(1, cols, 2), bias(1, biased == Biased::yes ? cols : 0, 5) {
        norm = {kind, gain.view(), {}, eps};
        if (biased == Biased::yes) norm.bias = bias.view();
    }
    Rule(const Rule&) = delete;
    Rule& operator=(const Rule&) = delete;
};

}  // namespace

TEST_CASE("norm: forward agrees with the reference at all widths", "[unit]") {
    const auto kind = GENERATE(ops::NormKind::rms, ops::NormKind::layer);
    const auto biased = GENERATE(Biased::no, Biased::yes);
    const index_t rows = GENERATE(0, 1, 7, 65);
    const index_t cols = GENERATE(1, 15, 16, 17, 51, 256, 1000);
    const Rule rule(kind, biased, cols);
    TestMatrix x(rows, cols, 1, 3.0F);
    for (float& value : x.values) value += 2.0F;
    const Forward got = forward(rule.norm, x.view(), 2);
    TestMatrix y(rows, cols);
    ops::ref::norm(rule.norm, x.view(), y.view());
    CHECK(relative_error(got.y.values, y.values) < 2e-6);
}

TEST_CASE("norm: RMSNorm turns a constant row into its sign times the gain", "[unit]") {
    TestMatrix x(2, 33);
    std::fill_n(x.values.begin(), 33, 4.0F);
    std::fill_n(x.values.begin() + 33, 33, -0.25F);
    const Rule rule(ops::NormKind::rms, Biased::no, 33, 0.0F);
    const Forward got = forward(rule.norm, x.view(), 1);
    CHECK(got.rstd == std::vector<float>{0.25F, 4.0F});
    for (index_t i = 0; i < 33; ++i) {
        CHECK(got.y.view()(0, i) == rule.gain.view()(0, i));
        CHECK(got.y.view()(1, i) == -rule.gain.view()(0, i));
    }
}

TEST_CASE("norm: LayerNorm turns two alternating values into -gain and gain, plus the bias", "[unit]") {
    // Mean 5 and deviation 4, both exact. 34 columns: the tail must not count as values.
    TestMatrix x(1, 34);
    for (std::size_t i = 0; i < 34; ++i) x.values[i] = i % 2 == 0 ? 1.0F : 9.0F;
    const Rule rule(ops::NormKind::layer, Biased::yes, 34, 0.0F);
    const Forward got = forward(rule.norm, x.view(), 1);
    CHECK(got.mean == std::vector<float>{5.0F});
    CHECK(got.rstd == std::vector<float>{0.25F});
    for (index_t i = 0; i < 34; ++i) {
        const float gain = rule.gain.view()(0, i);
        CHECK(got.y.view()(0, i) == (i % 2 == 0 ? -gain : gain) + rule.bias.view()(0, i));
    }
}

TEST_CASE("norm: LayerNorm keeps its digits where the mean is far from 0", "[unit]") {
    // Mean of squares minus square of mean would leave nothing of a deviation of 1 beside 1000 in float32.
    TestMatrix x(3, 100, 1);
    for (float& value : x.values) value += 1000.0F;
    const Rule rule(ops::NormKind::layer, Biased::no, 100);
    TestMatrix y(3, 100);
    ops::ref::norm(rule.norm, x.view(), y.view());
    CHECK(relative_error(forward(rule.norm, x.view(), 1).y.values, y.values) < 2e-4);
}

TEST_CASE("norm: a row of zeros stays zero", "[unit]") {
    const auto kind = GENERATE(ops::NormKind::rms, ops::NormKind::layer);
    const Rule rule(kind, Biased::no, 20);
    const Forward got = forward(rule.norm, TestMatrix(1, 20).view(), 1);
    for (const float value : got.y.values) CHECK(value == 0.0F);
}

TEST_CASE("norm: rows whose squares a float does not hold agree with the reference, and infinity shows",
          "[unit]") {
    const auto kind = GENERATE(ops::NormKind::rms, ops::NormKind::layer);
    // The squares of one alone overflow; or of all together; or, for LayerNorm, their sum does.
    const float size = GENERATE(1e18F, 1e19F, 1e30F, 1e38F);
    const Rule rule(kind, Biased::yes, 100);
    TestMatrix x(3, 100, 1, 0.5F);
    for (float& value : x.values) value = size * (value + 0.25F);
    const Forward got = forward(rule.norm, x.view(), 1);
    TestMatrix y(3, 100);
    ops::ref::norm(rule.norm, x.view(), y.view());
    CHECK(relative_error(got.y.values, y.values) < 1e-5);
    x.values[150] = std::numeric_limits<float>::infinity();
    const Forward broken = forward(rule.norm, x.view(), 1);
    CHECK(std::isnan(broken.y.values[150]));
}

TEST_CASE("norm: scaling the input by a power of two changes no bit of the output", "[unit]") {
    const auto kind = GENERATE(ops::NormKind::rms, ops::NormKind::layer);
    const Rule rule(kind, Biased::yes, 100, 0.0F);
    const TestMatrix x(9, 100, 1);
    TestMatrix scaled = x;
    for (float& value : scaled.values) value *= 1024.0F;
    CHECK(test::same_bits(forward(rule.norm, x.view(), 1).y.values,
                          forward(rule.norm, scaled.view(), 1).y.values));
}

TEST_CASE("norm: with the residual fused in, the same bits as sum and norm one after the other", "[unit]") {
    TestSession session(2);
    const auto kind = GENERATE(ops::NormKind::rms, ops::NormKind::layer);
    const index_t cols = GENERATE(5, 16, 100);
    TestMatrix x(13, cols, 1);
    const TestMatrix residual(13, cols, 3);
    const Rule rule(kind, Biased::yes, cols);
    TestMatrix sum = x;
    for (std::size_t i = 0; i < sum.values.size(); ++i) sum.values[i] += residual.values[i];
    const Forward wanted = forward(rule.norm, sum.view(), 1);
    TestMatrix y(13, cols);
    std::vector<float> rstd(13);
    std::vector<float> mean = room_for_mean(kind, 13);
    ops::add_norm(rule.norm, {x.view(), residual.view(), x.view(), y.view()},
                  {host_operand(std::span(rstd)), host_operand(std::span(mean))}, session.context);
    CHECK(test::same_bits(x.values, sum.values));
    CHECK(test::same_bits(y.values, wanted.y.values));
    CHECK(test::same_bits(rstd, wanted.rstd));
    CHECK(test::same_bits(mean, wanted.mean));
}

TEST_CASE("norm: in place and in a wider matrix, the same bits", "[unit]") {
    TestSession session(1);
    const auto kind = GENERATE(ops::NormKind::rms, ops::NormKind::layer);
    const TestMatrix x(6, 21, 1);
    const Rule rule(kind, Biased::yes, 21);
    const Forward wanted = forward(rule.norm, x.view(), 1);
    TestMatrix wide(6, 40, 7);
    const TestMatrix before = wide;
    const MatrixView<float> part = wide.view().cols_of({3, 24});
    for (index_t r = 0; r < 6; ++r)
        for (index_t c = 0; c < 21; ++c) part(r, c) = x.view()(r, c);
    std::vector<float> rstd(6);
    std::vector<float> mean = room_for_mean(kind, 6);
    ops::norm(rule.norm, part, part, {host_operand(std::span(rstd)), host_operand(std::span(mean))},
              session.context);
    for (index_t r = 0; r < 6; ++r) {
        for (index_t c = 0; c < 40; ++c) {
            const bool inside = c >= 3 && c < 24;
            CHECK(wide.view()(r, c) == (inside ? wanted.y.view()(r, c - 3) : before.view()(r, c)));
        }
    }
}

TEST_CASE("norm: a row's bits do not depend on threads or on the rows beside it", "[unit]") {
    const auto kind = GENERATE(ops::NormKind::rms, ops::NormKind::layer);
    const TestMatrix x(67, 51, 1);
    const Rule rule(kind, Biased::yes, 51);
    const Forward whole = forward(rule.norm, x.view(), 1);
    CHECK(test::same_bits(forward(rule.norm, x.view(), 2).y.values, whole.y.values));
    CHECK(test::same_bits(forward(rule.norm, x.view(), 3).y.values, whole.y.values));
    for (const index_t row : {0, 9, 66}) {
        const Forward single = forward(rule.norm, x.view().rows_of({row, row + 1}), 1);
        CHECK(std::equal(single.y.values.begin(), single.y.values.end(), whole.y.values.begin() + row * 51));
    }
}

TEST_CASE("norm: RMSNorm keeps its bits: one rounding an operation, lanes summed as a tree", "[unit]") {
    const Rule rule(ops::NormKind::rms, Biased::no, 37);
    const TestMatrix x(4, 37, 1);
    const Forward got = forward(rule.norm, x.view(), 1);
    for (index_t t = 0; t < 4; ++t) {
        float lanes[16] = {};
        for (index_t i = 0; i < 37; ++i) {
            const float square = x.view()(t, i) * x.view()(t, i);
            lanes[i % 16] += square;
        }
        for (const int half : {8, 4, 2, 1})
            for (int lane = 0; lane < half; ++lane) lanes[lane] += lanes[lane + half];
        const float rstd = 1.0F / std::sqrt(lanes[0] / 37.0F + kEps);
        CHECK(got.rstd[static_cast<std::size_t>(t)] == rstd);
        for (index_t i = 0; i < 37; ++i) {
            const float normed = x.view()(t, i) * rstd;
            CHECK(got.y.view()(t, i) == normed * rule.gain.view()(0, i));
        }
    }
}

/// Backward into gradients that start from 0.5.
struct Backward {
    std::vector<float> dgain;
    std::vector<float> dbias;

    Backward(const Rule& rule, const ops::NormBackward& in, MatrixView<float> dx, int threads)
        : dgain(rule.gain.values.size(), 0.5F), dbias(rule.bias.values.size(), 0.5F) {
        TestSession session(threads);
        ops::norm_backward(rule.norm, in, dx, {view_of(dgain), view_of(dbias)}, session.context);
    }
    static GradientRef view_of(std::vector<float>& sums) {
        return GradientView{sums.empty() ? nullptr : sums.data(), nullptr, 1,
                            static_cast<index_t>(sums.size()), nullptr};
    }
};

TEST_CASE("norm: backward agrees with the reference, added or overwritten, over odd blocks", "[unit]") {
    const auto kind = GENERATE(ops::NormKind::rms, ops::NormKind::layer);
    const auto biased = GENERATE(Biased::no, Biased::yes);
    const index_t rows = GENERATE(0, 1, 64, 67);
    const index_t cols = GENERATE(1, 16, 51);
    const auto write = GENERATE(Write::add, Write::overwrite);
    // LayerNorm makes every single column 0, with gradients of 0 to compare with.
    if (kind == ops::NormKind::layer && cols == 1) return;
    const TestMatrix x(rows, cols, 1);
    const Rule rule(kind, biased, cols);
    const TestMatrix dy(rows, cols, 3);
    const Forward kept = forward(rule.norm, x.view(), 1);
    TestMatrix dx(rows, cols, 4);
    TestMatrix wanted_dx(rows, cols, 4);
    const ops::NormBackward in = kept.backward(x, dy, write, 10);
    const Backward got(rule, in, dx.view(), 2);
    std::vector<double> wanted_dgain(got.dgain.size(), 0.5);
    std::vector<double> wanted_dbias(got.dbias.size(), 0.5);
    ops::ref::norm_backward(rule.norm, in, wanted_dx.view(), wanted_dgain, wanted_dbias);
    // A single column: the direct and the shift part cancel to what eps leaves.
    CHECK(relative_error(dx.values, wanted_dx.values) <
          (cols == 1 && write == Write::overwrite ? 5e-2 : 1e-5));
    CHECK(relative_error(got.dgain, wanted_dgain) < 1e-5);
    if (biased == Biased::yes) CHECK(relative_error(got.dbias, wanted_dbias) < 1e-5);
}

TEST_CASE("norm: rows of zeros and of equal values have finite gradients", "[unit]") {
    const auto kind = GENERATE(ops::NormKind::rms, ops::NormKind::layer);
    const float value = GENERATE(0.0F, 1e-30F, 3.0F, 1e19F);
    // What is left of 1e19 after its mean is rounding alone.
    if (kind == ops::NormKind::layer && value > 1e18F) return;
    const Rule rule(kind, Biased::no, 20);
    TestMatrix x(2, 20);
    std::ranges::fill(x.values, value);
    const TestMatrix dy(2, 20, 3);
    const Forward kept = forward(rule.norm, x.view(), 1);
    TestMatrix dx(2, 20);
    TestMatrix wanted(2, 20);
    const ops::NormBackward in = kept.backward(x, dy, Write::overwrite, 10);
    const Backward got(rule, in, dx.view(), 1);
    std::vector<double> dgain(20, 0.5);
    std::vector<double> dbias;
    ops::ref::norm_backward(rule.norm, in, wanted.view(), dgain, dbias);
    CHECK(relative_error(dx.values, wanted.values) < 1e-4);
    for (const float sum : got.dgain) CHECK(std::isfinite(sum));
}

TEST_CASE("norm: backward agrees with finite differences", "[unit]") {
    constexpr index_t kRows = 3;
    constexpr index_t kCols = 19;
    const auto kind = GENERATE(ops::NormKind::rms, ops::NormKind::layer);
    const TestMatrix x(kRows, kCols, 1);
    const Rule rule(kind, Biased::yes, kCols);
    const TestMatrix dy(kRows, kCols, 3);
    const auto loss = [&](const std::vector<double>& inputs, const std::vector<double>& gains,
                          const std::vector<double>& biases) {
        double total = 0.0;
        for (std::size_t t = 0; t < kRows; ++t) {
            const double* const row = inputs.data() + t * kCols;
            double mean = 0.0;
            for (std::size_t i = 0; i < kCols && kind == ops::NormKind::layer; ++i) mean += row[i] / kCols;
            double squares = 0.0;
            for (std::size_t i = 0; i < kCols; ++i) squares += (row[i] - mean) * (row[i] - mean);
            const double rstd = 1.0 / std::sqrt(squares / kCols + static_cast<double>(kEps));
            for (std::size_t i = 0; i < kCols; ++i)
                total += static_cast<double>(dy.values[t * kCols + i]) *
                         ((row[i] - mean) * rstd * gains[i] + biases[i]);
        }
        return total;
    };
    const std::vector<double> wide_x = test::widened(x.values);
    const std::vector<double> wide_gain = test::widened(rule.gain.values);
    const std::vector<double> wide_bias = test::widened(rule.bias.values);
    TestMatrix dx(kRows, kCols, 9);
    const Forward kept = forward(rule.norm, x.view(), 1);
    Backward got(rule, kept.backward(x, dy, Write::overwrite, 2), dx.view(), 1);
    for (std::vector<float>* sums : {&got.dgain, &got.dbias})
        for (float& sum : *sums) sum -= 0.5F;
    const auto by_x = [&](const auto& at) { return loss(at, wide_gain, wide_bias); };
    const auto by_gain = [&](const auto& at) { return loss(wide_x, at, wide_bias); };
    const auto by_bias = [&](const auto& at) { return loss(wide_x, wide_gain, at); };
    CHECK(relative_error(dx.values, test::numeric_gradient(wide_x, by_x)) < 2e-6);
    CHECK(relative_error(got.dgain, test::numeric_gradient(wide_gain, by_gain)) < 2e-6);
    CHECK(relative_error(got.dbias, test::numeric_gradient(wide_bias, by_bias)) < 2e-6);
}

/// Backward over `parts` of the rows, with gradients of both kinds.
struct Sums {
    TestMatrix dx;
    std::vector<float> f32;
    std::vector<std::int64_t> fixed;
    std::uint8_t overflow = 0;

    Sums(const Rule& rule, const TestMatrix& x, const TestMatrix& dy, int threads,
         const std::vector<Range>& parts, index_t block_rows)
        : dx(x.rows, x.cols),
          f32(static_cast<std::size_t>(2 * x.cols), 0.0F),
          fixed(static_cast<std::size_t>(2 * x.cols), 0) {
        TestSession session(threads, NumericsMode::reproducible);
        const Forward kept = forward(rule.norm, x.view(), 1);
        const index_t cols = x.cols;
        for (const Range part : parts) {
            const auto rows_of = [&](std::span<const float> values) {
                return host_operand(values.empty() ? values
                                                   : values.subspan(static_cast<std::size_t>(part.begin),
                                                                    static_cast<std::size_t>(part.size())));
            };
            const ops::NormBackward in{x.view().rows_of(part),  rows_of(kept.rstd), rows_of(kept.mean),
                                       dy.view().rows_of(part), Write::overwrite,   block_rows};
            ops::norm_backward(rule.norm, in, dx.view().rows_of(part),
                               {GradientView{f32.data(), nullptr, 1, cols, nullptr},
                                GradientView{f32.data() + cols, nullptr, 1, cols, nullptr}},
                               session.context);
            ops::norm_backward(rule.norm, in, dx.view().rows_of(part),
                               {GradientView{nullptr, fixed.data(), 1, cols, &overflow},
                                GradientView{nullptr, fixed.data() + cols, 1, cols, &overflow}},
                               session.context);
        }
        CHECK_FALSE(overflow);
    }
};

TEST_CASE("norm: backward does not depend on threads; in fixed point, nor on how rows are dealt out",
          "[unit]") {
    const auto kind = GENERATE(ops::NormKind::rms, ops::NormKind::layer);
    const TestMatrix x(96, 35, 1);
    const Rule rule(kind, Biased::yes, 35);
    const TestMatrix dy(96, 35, 3);
    const Sums whole(rule, x, dy, 1, {{0, 96}}, 16);
    for (const int threads : {2, 3}) {
        const Sums other(rule, x, dy, threads, {{0, 96}}, 16);
        CHECK(test::same_bits(other.dx.values, whole.dx.values));
        CHECK(test::same_bits(other.f32, whole.f32));
        CHECK(other.fixed == whole.fixed);
    }
    const Sums dealt(rule, x, dy, 2, {{48, 96}, {0, 16}, {16, 48}}, 16);
    CHECK(test::same_bits(dealt.dx.values, whole.dx.values));
    CHECK(dealt.fixed == whole.fixed);
}

TEST_CASE("norm: heads of a matrix are rows of its narrower view, whatever ranks hold the sequences",
          "[unit]") {
    constexpr index_t kTokens = 24;
    constexpr index_t kHeads = 3;
    constexpr index_t kWidth = 20;
    constexpr index_t kSequence = 6;
    const auto kind = GENERATE(ops::NormKind::rms, ops::NormKind::layer);
    const Rule rule(kind, Biased::yes, kWidth);
    const TestMatrix x(kTokens, kHeads * kWidth, 1);
    const TestMatrix dy(kTokens, kHeads * kWidth, 3);
    const auto by_head = [](const TestMatrix& matrix) {
        TestMatrix heads = matrix;
        heads.rows = kTokens * kHeads;
        heads.cols = kWidth;
        return heads;
    };
    const Forward whole = forward(rule.norm, by_head(x).view(), 2);
    for (index_t head = 0; head < kHeads; ++head) {
        const MatrixView<const float> alone = x.view().cols_of({head * kWidth, (head + 1) * kWidth});
        const Forward got = forward(rule.norm, alone, 1);
        for (index_t t = 0; t < kTokens; ++t)
            CHECK(std::equal(got.y.view().row(t), got.y.view().row(t) + kWidth,
                             whole.y.view().row(t * kHeads + head)));
    }
    const index_t block = kSequence * kHeads;
    const Sums together(rule, by_head(x), by_head(dy), 1, {{0, 4 * block}}, block);
    const Sums apart(rule, by_head(x), by_head(dy), 2,
                     {{2 * block, 4 * block}, {0, block}, {block, 2 * block}}, block);
    CHECK(test::same_bits(apart.dx.values, together.dx.values));
    CHECK(apart.fixed == together.fixed);
}

TEST_CASE("norm: shapes that do not fit are refused", "[unit]") {
    TestSession session;
    const TestMatrix x(4, 8, 1);
    TestMatrix y(4, 8);
    TestMatrix narrow_y(4, 7);
    std::vector<float> gain(8, 1.0F);
    std::vector<float> rstd(4);
    std::vector<float> mean(4);
    const TensorRef short_rstd = host_operand(std::span(rstd).first(3));
    const ops::Norm rms{ops::NormKind::rms, host_operand(std::span(gain)), {}};
    const ops::Norm layer{ops::NormKind::layer, host_operand(std::span(gain)), host_operand(std::span(gain))};
    const auto apply = [&](const ops::Norm& rule, MatrixView<float> out,
                           const ops::NormStatistics& statistics) {
        ops::norm(rule, x.view(), out, statistics, session.context);
    };
    CHECK_NOTHROW(apply(rms, y.view(), {host_operand(std::span(rstd)), {}}));
    CHECK_NOTHROW(apply(layer, y.view(), {host_operand(std::span(rstd)), host_operand(std::span(mean))}));
    CHECK_THROWS_AS(apply(rms, narrow_y.view(), {host_operand(std::span(rstd)), {}}), ShapeError);
    CHECK_THROWS_AS(apply(rms, y.view(), {short_rstd, {}}), ShapeError);
    CHECK_THROWS_AS(apply(rms, y.view(), {host_operand(std::span(rstd)), host_operand(std::span(mean))}),
                    ShapeError);
    CHECK_THROWS_AS(apply(layer, y.view(), {host_operand(std::span(rstd)), {}}), ShapeError);
    CHECK_THROWS_AS(apply({ops::NormKind::rms, host_operand(std::span(gain).first(7)), {}}, y.view(),
                          {host_operand(std::span(rstd)), {}}),
                    ShapeError);
    CHECK_THROWS_AS(
        apply({ops::NormKind::rms, host_operand(std::span(gain)), host_operand(std::span(gain).first(7))},
              y.view(), {host_operand(std::span(rstd)), {}}),
        ShapeError);
    CHECK_THROWS_AS(ops::add_norm(rms, {x.view(), narrow_y.view(), y.view(), y.view()},
                                  {host_operand(std::span(rstd)), {}}, session.context),
                    ShapeError);

    const GradientView good{gain.data(), nullptr, 1, 8, nullptr};
    const GradientView narrow{gain.data(), nullptr, 1, 7, nullptr};
    const auto back = [&](const ops::Norm& rule, MatrixView<float> dx, const ops::NormGradients& gradients,
                          index_t block_rows) {
        ops::NormBackward in{x.view(), host_operand(std::span(rstd)), {}, x.view(), Write::add, block_rows};
        if (rule.kind == ops::NormKind::layer) in.mean = host_operand(std::span(mean));
        ops::norm_backward(rule, in, dx, gradients, session.context);
    };
    CHECK_NOTHROW(back(rms, y.view(), {good, {}}, 2));
    CHECK_NOTHROW(back(layer, y.view(), {good, good}, 2));
    CHECK_THROWS_AS(back(rms, narrow_y.view(), {good, {}}, 2), ShapeError);
    CHECK_THROWS_AS(back(rms, y.view(), {narrow, {}}, 2), ShapeError);
    CHECK_THROWS_AS(back(rms, y.view(), {good, good}, 2), ShapeError);
    CHECK_THROWS_AS(back(layer, y.view(), {good, {}}, 2), ShapeError);
    CHECK_THROWS_AS(back(rms, y.view(), {good, {}}, 0), ShapeError);
}
