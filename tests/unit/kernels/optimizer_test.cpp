#include "kernels/ops/optimizer/optimizer.hpp"

#include <catch2/catch.hpp>

#include "tests/unit/kernels/numeric.hpp"

using namespace sy;
using test::relative_error;
using test::TestMatrix;
using test::TestSession;

namespace {

struct State {
    std::vector<float> weight;
    std::vector<float> m;
    std::vector<float> v;
    std::vector<float> gradient;
    std::vector<bf16> working;

    explicit State(std::size_t count, std::uint64_t stream = 1)
        : weight(TestMatrix(1, static_cast<index_t>(count), stream).values),
          m(count, 0.0F),
          v(count, 0.0F),
          gradient(count),
          working(count) {}

    /// The update zeroes its gradient, so it gets a copy.
    ops::AdamwOperands part(std::size_t first, std::size_t count, std::span<const float> values) {
        gradient.assign(values.begin(), values.end());
        const auto piece = [&](auto& whole) { return host_operand(std::span(whole).subspan(first, count)); };
        return {piece(weight), piece(m), piece(v), piece(gradient), piece(working)};
    }
    ops::AdamwOperands all(std::span<const float> values) { return part(0, weight.size(), values); }
};

ops::AdamwStep step_of(index_t step) {
    return {1e-2F, 0.9F, 0.95F, 1e-8F, 0.1F, 0.5F, step};
}

std::vector<float> gradient_of(std::size_t count, index_t step) {
    return TestMatrix(1, static_cast<index_t>(count), 100 + static_cast<std::uint64_t>(step)).values;
}

/// As torch.optim.AdamW writes it (single tensor, no amsgrad), in double.
struct Torch {
    std::vector<double> param;
    std::vector<double> exp_avg;
    std::vector<double> exp_avg_sq;

    void step(std::span<const float> gradient, const ops::AdamwStep& s) {
        const double lr = static_cast<double>(s.lr);
        const double beta1 = static_cast<double>(s.beta1);
        const double beta2 = static_cast<double>(s.beta2);
        const double bias_correction1 = 1.0 - std::pow(beta1, static_cast<double>(s.step));
        const double bias_correction2 = 1.0 - std::pow(beta2, static_cast<double>(s.step));
        for (std::size_t i = 0; i < param.size(); ++i) {
            const double grad = static_cast<double>(gradient[i]) * static_cast<double>(s.gradient_scale);
            param[i] *= 1.0 - lr * static_cast<double>(s.weight_decay);
            exp_avg[i] += (grad - exp_avg[i]) * (1.0 - beta1);
            exp_avg_sq[i] = exp_avg_sq[i] * beta2 + (1.0 - beta2) * grad * grad;
            const double denom =
                std::sqrt(exp_avg_sq[i]) / std::sqrt(bias_correction2) + static_cast<double>(s.eps);
            param[i] += -(lr / bias_correction1) * exp_avg[i] / denom;
        }
    }
};

}  // namespace

TEST_CASE("optimizer: AdamW follows torch's formula over many steps", "[unit]") {
    const std::size_t count = GENERATE(1UL, 15UL, 16UL, 17UL, 1003UL);
    TestSession session(2);
    State state(count);
    Torch torch{test::widened(state.weight), std::vector<double>(count), std::vector<double>(count)};
    for (index_t step = 1; step <= 20; ++step) {
        const std::vector<float> gradient = gradient_of(count, step);
        ops::adamw(state.all(gradient), step_of(step), session.context);
        torch.step(gradient, step_of(step));
        REQUIRE(relative_error(state.weight, torch.param) < 2e-6);
        REQUIRE(relative_error(state.m, torch.exp_avg) < 2e-6);
        REQUIRE(relative_error(state.v, torch.exp_avg_sq) < 2e-6);
    }
}

TEST_CASE("optimizer: body and reference agree", "[unit]") {
    TestSession session(1);
    State state(333);
    State wanted(333);
    for (index_t step = 1; step <= 5; ++step) {
        const std::vector<float> gradient = gradient_of(333, step);
        ops::adamw(state.all(gradient), step_of(step), session.context);
        ops::ref::adamw(wanted.all(gradient), step_of(step));
        CHECK(std::ranges::all_of(state.gradient, [](float value) { return value == 0.0F; }));
        CHECK(std::ranges::all_of(wanted.gradient, [](float value) { return value == 0.0F; }));
    }
    CHECK(relative_error(state.weight, std::span<const float>(wanted.weight)) < 1e-6);
    CHECK(relative_error(state.m, std::span<const float>(wanted.m)) < 1e-6);
    CHECK(relative_error(state.v, std::span<const float>(wanted.v)) < 1e-6);
}

TEST_CASE("optimizer: the first step is the learning rate in the gradient's direction", "[unit]") {
    TestSession session;
    State state(4);
    std::fill(state.weight.begin(), state.weight.end(), 0.0F);
    const std::vector<float> gradient{3.0F, -1e-3F, 200.0F, 0.0F};
    ops::AdamwStep step = step_of(1);
    step.eps = 0.0F;
    step.gradient_scale = 1.0F;
    ops::adamw(state.part(0, 3, gradient), step, session.context);
    CHECK(static_cast<double>(state.weight[0]) == Approx(-0.01));
    CHECK(static_cast<double>(state.weight[1]) == Approx(0.01));
    CHECK(static_cast<double>(state.weight[2]) == Approx(-0.01));
    // With eps, a parameter that never had a gradient only decays.
    state.weight[3] = 2.0F;
    for (index_t n = 1; n <= 3; ++n) ops::adamw(state.part(3, 1, gradient), step_of(n), session.context);
    CHECK(static_cast<double>(state.weight[3]) == Approx(2.0 * std::pow(1.0 - 1e-3, 3)).epsilon(1e-6));
}

TEST_CASE("optimizer: the clip factor equals a gradient scaled before", "[unit]") {
    TestSession session;
    State clipped(50);
    State scaled(50);
    std::vector<float> gradient = gradient_of(50, 1);
    ops::adamw(clipped.all(gradient), step_of(1), session.context);
    for (float& value : gradient) value *= 0.5F;
    ops::AdamwStep step = step_of(1);
    step.gradient_scale = 1.0F;
    ops::adamw(scaled.all(gradient), step, session.context);
    CHECK(test::same_bits(clipped.weight, scaled.weight));
    CHECK(test::same_bits(clipped.v, scaled.v));
}

TEST_CASE("optimizer: the same bits however the parameters are cut, and on any number of threads", "[unit]") {
    constexpr std::size_t kCount = 12345;
    TestSession one(1);
    TestSession three(3);
    State whole(kCount);
    State threaded(kCount);
    State pieces(kCount);
    for (index_t step = 1; step <= 3; ++step) {
        const std::vector<float> gradient = gradient_of(kCount, step);
        ops::adamw(whole.all(gradient), step_of(step), one.context);
        ops::adamw(threaded.all(gradient), step_of(step), three.context);
        std::size_t first = 0;
        for (const std::size_t size : {1UL, 7UL, 16UL, 33UL, 4096UL, 5001UL, 3191UL}) {
            ops::adamw(pieces.part(first, size, gradient), step_of(step), one.context);
            first += size;
        }
        REQUIRE(first == kCount);
    }
    for (const State* const other : {&threaded, &pieces}) {
        CHECK(test::same_bits(other->weight, whole.weight));
        CHECK(test::same_bits(other->m, whole.m));
        CHECK(test::same_bits(other->v, whole.v));
        CHECK(other->working == whole.working);
    }
}

TEST_CASE("optimizer: the working copy is the rounded weight, and its absence changes nothing", "[unit]") {
    TestSession session;
    State with(77);
    State without(77);
    const std::vector<float> gradient = gradient_of(77, 1);
    ops::adamw(with.all(gradient), step_of(1), session.context);
    ops::AdamwOperands bare = without.all(gradient);
    bare.working = {};
    ops::adamw(bare, step_of(1), session.context);
    CHECK(test::same_bits(with.weight, without.weight));
    for (std::size_t i = 0; i < 77; ++i) REQUIRE(with.working[i] == bf16(with.weight[i]));
    CHECK(without.working == std::vector<bf16>(77));
}

TEST_CASE("optimizer: lengths that differ and a step before the first are refused", "[unit]") {
    TestSession session;
    State state(8);
    const std::vector<float> gradient(8, 1.0F);
    const auto refused = [&](auto change) {
        ops::AdamwOperands operands = state.all(gradient);
        change(operands);
        CHECK_THROWS_AS(ops::adamw(operands, step_of(1), session.context), ShapeError);
    };
    refused([](ops::AdamwOperands& o) { o.m = o.m.cols_of({0, 7}); });
    refused([](ops::AdamwOperands& o) { o.v = o.v.cols_of({0, 7}); });
    refused([](ops::AdamwOperands& o) { o.gradient = o.gradient.cols_of({0, 7}); });
    refused([](ops::AdamwOperands& o) { o.working = o.working.cols_of({0, 7}); });
    CHECK_THROWS_AS(ops::adamw(state.all(gradient), step_of(0), session.context), LogicError);
    ops::adamw({}, step_of(1), session.context);
}
