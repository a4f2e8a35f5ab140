#include "kernels/ops/activation/activation.hpp"

#include <catch2/catch.hpp>

#include "kernels/core/error.hpp"
#include "kernels/core/simd.hpp"
#include "tests/unit/kernels/numeric.hpp"

using namespace sy;
using ops::Activation;
using test::relative_error;
using test::TestMatrix;

namespace {

constexpr index_t kRows = 5;
constexpr index_t kCols = 37;

/// Activations in [rows, F] of one type.
template <class In>
struct Block {
    std::vector<In> values = std::vector<In>(kRows * kCols);

    Block() = default;
    explicit Block(const TestMatrix& from) : values(from.values.begin(), from.values.end()) {}
    MatrixView<In> view() { return {values.data(), kRows, kCols}; }
    MatrixView<const In> view() const { return {values.data(), kRows, kCols}; }
    std::vector<float> floats() const {
        std::vector<float> result;
        for (const In value : values) result.push_back(static_cast<float>(value));
        return result;
    }
};

template <class In>
double tolerance() {
    return std::is_same_v<In, float> ? 1e-6 : 0x1p-8;
}

/// The view where the activation has a gate, else one with null data.
template <class T>
MatrixView<T> gate_of(Activation kind, MatrixView<T> view) {
    return ops::is_gated(kind) ? view : MatrixView<T>();
}

std::span<const float> part_of_gate(Activation kind, const std::vector<float>& bias) {
    return ops::is_gated(kind) ? std::span<const float>(bias) : std::span<const float>();
}

struct Inputs {
    TestMatrix gate{kRows, kCols, 1, 3.0F};
    TestMatrix up{kRows, kCols, 2, 3.0F};
    TestMatrix dh{kRows, kCols, 3};
    TestMatrix weight{1, kRows, 4};
    TestMatrix gate_bias{1, kCols, 5};
    TestMatrix up_bias{1, kCols, 6};
};

template <class In>
struct Forward {
    Block<In> h;
    Block<In> kept_gate;
    Block<In> kept_up;

    ops::Activate<In> block(Activation kind, const Inputs& in, bool biased) {
        ops::Activate<In> result{.kind = kind,
                                 .gate = gate_of(kind, in.gate.view()),
                                 .up = in.up.view(),
                                 .gate_bias = {},
                                 .up_bias = {},
                                 .weight = in.weight.values,
                                 .h = h.view(),
                                 .kept_gate = gate_of(kind, kept_gate.view()),
                                 .kept_up = kept_up.view()};
        if (biased) {
            result.gate_bias = part_of_gate(kind, in.gate_bias.values);
            result.up_bias = in.up_bias.values;
        }
        return result;
    }
};

template <class In>
struct Backward {
    Block<In> h;
    Block<In> dgate;
    Block<In> dup;
    std::vector<float> dot = std::vector<float>(kRows);

    ops::ActivateBackward<In> block(Activation kind, const Block<In>& gate, const Block<In>& up,
                                    const Inputs& in) {
        return {.kind = kind,
                .gate = gate_of(kind, gate.view()),
                .up = up.view(),
                .dh = in.dh.view(),
                .weight = in.weight.values,
                .h = h.view(),
                .dgate = gate_of(kind, dgate.view()),
                .dup = dup.view(),
                .dot = dot};
    }
};

}  // namespace

TEST_CASE("activation: names are read as they are written, and others refused with the known ones",
          "[unit]") {
    std::vector<std::string> gated;
    for (const Activation kind : ops::kActivations) {
        CHECK(ops::parse_activation(ops::activation_name(kind)) == kind);
        CHECK(ops::activation_flops(kind) > 0.0);
        if (ops::is_gated(kind)) gated.emplace_back(ops::activation_name(kind));
    }
    CHECK(gated == std::vector<std::string>{"reglu", "geglu", "geglu_tanh", "swiglu"});
    CHECK_THROWS_AS(ops::parse_activation("mish"), ConfigError);
    CHECK_THROWS_WITH(ops::parse_activation("mish"), Catch::Contains("'mish'") && Catch::Contains("swiglu"));
    CHECK_THROWS_AS(ops::parse_activation(""), ConfigError);
}

TEST_CASE("activation: the reference has the values of closed form", "[unit]") {
    const auto f = [](Activation kind, double x) { return ops::ref::nonlinearity(kind, x); };
    CHECK(f(Activation::relu, -2.0) == 0.0);
    CHECK(f(Activation::relu, 2.5) == 2.5);
    CHECK(f(Activation::squared_relu, 3.0) == 9.0);
    CHECK(f(Activation::squared_relu, -3.0) == 0.0);
    CHECK(f(Activation::silu, std::log(3.0)) == Approx(0.75 * std::log(3.0)).epsilon(1e-14));
    CHECK(f(Activation::gelu, 1.0) == Approx(0.8413447460685429).epsilon(1e-14));
    CHECK(f(Activation::gelu, -1.0) == Approx(-0.15865525393145707).epsilon(1e-14));
    CHECK(f(Activation::gelu_tanh, 1.0) == Approx(0.8411919906082768).epsilon(1e-14));
    // The approximation is near, but not the same.
    CHECK(std::fabs(f(Activation::gelu, 2.0) - f(Activation::gelu_tanh, 2.0)) > 1e-5);
    CHECK(std::fabs(f(Activation::gelu, 2.0) - f(Activation::gelu_tanh, 2.0)) < 1e-3);
    CHECK(f(Activation::reglu, 2.0) == f(Activation::relu, 2.0));
    CHECK(f(Activation::geglu, 0.3) == f(Activation::gelu, 0.3));
    CHECK(f(Activation::geglu_tanh, 0.3) == f(Activation::gelu_tanh, 0.3));
    CHECK(f(Activation::swiglu, 0.3) == f(Activation::silu, 0.3));
}

TEMPLATE_TEST_CASE("activation: forward agrees with the reference, with biases and without", "[unit]", float,
                   bf16) {
    const Inputs in;
    for (const Activation kind : ops::kActivations) {
        for (const bool biased : {false, true}) {
            CAPTURE(ops::activation_name(kind), biased);
            Forward<TestType> got;
            Forward<TestType> wanted;
            ops::activate(got.block(kind, in, biased));
            ops::ref::activate(wanted.block(kind, in, biased));
            CHECK(relative_error(got.h.floats(), wanted.h.floats()) < tolerance<TestType>());
            CHECK(test::same_bits(got.kept_up.floats(), wanted.kept_up.floats()));
            CHECK(test::same_bits(got.kept_gate.floats(), wanted.kept_gate.floats()));
            CHECK((got.kept_gate.floats()[0] != 0.0F) == ops::is_gated(kind));
            // Nothing kept and no weights: the same before weighting.
            Forward<TestType> plain;
            ops::Activate<TestType> block = plain.block(kind, in, biased);
            block.kept_gate = block.kept_up = {};
            block.weight = {};
            ops::activate(block);
            ops::Activate<TestType> plain_wanted = wanted.block(kind, in, biased);
            plain_wanted.weight = {};
            ops::ref::activate(plain_wanted);
            CHECK(relative_error(plain.h.floats(), wanted.h.floats()) < tolerance<TestType>());
            CHECK(plain.kept_up.floats() == std::vector<float>(kRows * kCols, 0.0F));
        }
    }
}

TEMPLATE_TEST_CASE("activation: backward agrees with the reference", "[unit]", float, bf16) {
    const Inputs in;
    const Block<TestType> gate(in.gate);
    const Block<TestType> up(in.up);
    for (const Activation kind : ops::kActivations) {
        CAPTURE(ops::activation_name(kind));
        Backward<TestType> got;
        Backward<TestType> wanted;
        ops::activate_backward(got.block(kind, gate, up, in));
        ops::ref::activate_backward(wanted.block(kind, gate, up, in));
        CHECK(relative_error(got.h.floats(), wanted.h.floats()) < tolerance<TestType>());
        CHECK(relative_error(got.dup.floats(), wanted.dup.floats()) < tolerance<TestType>());
        CHECK(relative_error(got.dot, wanted.dot) < 2e-6);
        if (ops::is_gated(kind)) {
            CHECK(relative_error(got.dgate.floats(), wanted.dgate.floats()) < tolerance<TestType>());
        } else {
            CHECK(got.dgate.floats() == std::vector<float>(kRows * kCols, 0.0F));
        }
        // Without weights and dots.
        ops::ActivateBackward<TestType> plain = got.block(kind, gate, up, in);
        plain.weight = {};
        plain.dot = {};
        ops::activate_backward(plain);
        ops::ActivateBackward<TestType> plain_wanted = wanted.block(kind, gate, up, in);
        plain_wanted.weight = {};
        ops::ref::activate_backward(plain_wanted);
        CHECK(relative_error(got.dup.floats(), wanted.dup.floats()) < tolerance<TestType>());
    }
}

TEST_CASE("activation: backward agrees with finite differences of gate, up and weight", "[unit]") {
    Inputs in;
    // Away from the kink of max(x, 0).
    for (TestMatrix* matrix : {&in.gate, &in.up})
        for (float& value : matrix->values) value = std::fabs(value) < 0.01F ? 0.01F : value;
    const std::vector<double> gate = test::widened(in.gate.values);
    const std::vector<double> up = test::widened(in.up.values);
    const std::vector<double> weight = test::widened(in.weight.values);
    for (const Activation kind : ops::kActivations) {
        CAPTURE(ops::activation_name(kind));
        const auto loss = [&](const std::vector<double>& g, const std::vector<double>& u,
                              const std::vector<double>& w) {
            double total = 0.0;
            for (std::size_t i = 0; i < g.size(); ++i) {
                const double h = ops::is_gated(kind) ? ops::ref::nonlinearity(kind, g[i]) * u[i]
                                                     : ops::ref::nonlinearity(kind, u[i]);
                total += w[i / kCols] * h * static_cast<double>(in.dh.values[i]);
            }
            return total;
        };
        Backward<float> got;
        ops::activate_backward(got.block(kind, Block<float>(in.gate), Block<float>(in.up), in));
        const auto by_gate = [&](const auto& at) { return loss(at, up, weight); };
        const auto by_up = [&](const auto& at) { return loss(gate, at, weight); };
        const auto by_weight = [&](const auto& at) { return loss(gate, up, at); };
        CHECK(relative_error(got.dup.values, test::numeric_gradient(up, by_up)) < 2e-6);
        CHECK(relative_error(got.dot, test::numeric_gradient(weight, by_weight)) < 2e-6);
        if (ops::is_gated(kind))
            CHECK(relative_error(got.dgate.values, test::numeric_gradient(gate, by_gate)) < 2e-6);
    }
}

TEST_CASE("activation: values and slopes hold over the whole range", "[unit]") {
    std::vector<float> x;
    for (int i = -3200; i <= 3200; ++i) x.push_back(static_cast<float>(i) / 100.0F + 0.003F);
    for (const float size : {1e-30F, 1e-6F, 1e3F, 1e8F, 1e15F})
        for (const float sign : {-1.0F, 1.0F}) x.push_back(sign * size);
    const auto count = static_cast<index_t>(x.size());
    const std::vector<float> ones(x.size(), 1.0F);
    std::vector<float> h(x.size());
    std::vector<float> slope(x.size());
    for (const Activation kind : ops::kActivations) {
        if (ops::is_gated(kind)) continue;
        ops::activate_backward<float>({.kind = kind,
                                       .gate = {},
                                       .up = {x.data(), 1, count},
                                       .dh = {ones.data(), 1, count},
                                       .weight = {},
                                       .h = {h.data(), 1, count},
                                       .dgate = {},
                                       .dup = {slope.data(), 1, count},
                                       .dot = {}});
        for (std::size_t i = 0; i < x.size(); ++i) {
            CAPTURE(ops::activation_name(kind), x[i]);
            const auto wide = static_cast<double>(x[i]);
            const double value = ops::ref::nonlinearity(kind, wide);
            const double wanted = ops::ref::nonlinearity_slope(kind, wide);
            // An error of 1 in the last place of a factor between 0 and 1 counts by the size of x; in the slope of
            // gelu_tanh 1 - tanh^2 cancels where its factor is about 10.
            REQUIRE(std::fabs(static_cast<double>(h[i]) - value) <=
                    2e-7 * std::fmax(std::fabs(value), std::fmin(std::fabs(wide), 32.0)));
            REQUIRE(std::fabs(static_cast<double>(slope[i]) - wanted) <=
                    2e-6 * std::fmax(1.0, std::fabs(wanted)));
        }
    }
}

TEST_CASE("activation: at the kink the slope is 0, and NaN passes", "[unit]") {
    const std::vector<float> x{0.0F, -0.0F, std::nanf("")};
    const std::vector<float> ones(3, 1.0F);
    std::vector<float> h(3);
    std::vector<float> slope(3);
    for (const Activation kind : {Activation::relu, Activation::squared_relu, Activation::gelu,
                                  Activation::gelu_tanh, Activation::silu}) {
        CAPTURE(ops::activation_name(kind));
        ops::activate_backward<float>({.kind = kind,
                                       .gate = {},
                                       .up = {x.data(), 1, 3},
                                       .dh = {ones.data(), 1, 3},
                                       .weight = {},
                                       .h = {h.data(), 1, 3},
                                       .dgate = {},
                                       .dup = {slope.data(), 1, 3},
                                       .dot = {}});
        const bool kinked = kind == Activation::relu || kind == Activation::squared_relu;
        CHECK(h[0] == 0.0F);
        CHECK(slope[0] == (kinked ? 0.0F : 0.5F));
        CHECK(slope[1] == slope[0]);
        CHECK(std::isnan(h[2]));
    }
}

TEST_CASE("activation: SwiGLU is g sigmoid(g) u weight, multiplied in this order", "[unit]") {
    const Inputs in;
    Forward<float> got;
    ops::activate(got.block(Activation::swiglu, in, false));
    std::vector<float> wanted(kRows * kCols);
    for (index_t r = 0; r < kRows; ++r) {
        const float weight = in.weight.values[static_cast<std::size_t>(r)];
        simd::for_lanes(kCols, [&](index_t i, auto load, auto store) {
            const simd::f32x16 g = load(in.gate.view().row(r) + i);
            store(wanted.data() + r * kCols + i,
                  g * simd::sigmoid(g) * load(in.up.view().row(r) + i) * weight);
        });
    }
    CHECK(test::same_bits(got.h.values, wanted));
}

TEST_CASE("activation: in place the same bits", "[unit]") {
    const Inputs in;
    for (const Activation kind : ops::kActivations) {
        CAPTURE(ops::activation_name(kind));
        Forward<float> wanted;
        ops::activate(wanted.block(kind, in, true));
        // Kept where the projections are.
        Forward<float> kept;
        Inputs own = in;
        ops::Activate<float> block = kept.block(kind, own, true);
        block.kept_gate = gate_of(kind, own.gate.view());
        block.kept_up = own.up.view();
        ops::activate(block);
        CHECK(test::same_bits(kept.h.values, wanted.h.values));
        CHECK(test::same_bits(own.up.values, wanted.kept_up.values));
        if (ops::is_gated(kind)) CHECK(test::same_bits(own.gate.values, wanted.kept_gate.values));
        // h where the projection is.
        own = in;
        block = kept.block(kind, own, true);
        block.kept_gate = block.kept_up = {};
        block.h = own.up.view();
        ops::activate(block);
        CHECK(test::same_bits(own.up.values, wanted.h.values));
        // Gradients where the kept values are.
        Backward<float> apart;
        ops::activate_backward(apart.block(kind, wanted.kept_gate, wanted.kept_up, in));
        Backward<float> together;
        ops::ActivateBackward<float> back = together.block(kind, wanted.kept_gate, wanted.kept_up, in);
        back.dgate = gate_of(kind, wanted.kept_gate.view());
        back.dup = wanted.kept_up.view();
        ops::activate_backward(back);
        CHECK(test::same_bits(wanted.kept_up.values, apart.dup.values));
        if (ops::is_gated(kind)) CHECK(test::same_bits(wanted.kept_gate.values, apart.dgate.values));
    }
}

TEST_CASE("activation: blocks that do not fit are refused", "[unit]") {
    const Inputs in;
    Forward<float> forward;
    for (const Activation kind : {Activation::relu, Activation::swiglu}) {
        const bool gated = ops::is_gated(kind);
        const auto refused = [&](auto&& change) {
            ops::Activate<float> block = forward.block(kind, in, true);
            change(block);
            CHECK_THROWS_AS(ops::activate(block), ShapeError);
        };
        CHECK_NOTHROW(ops::activate(forward.block(kind, in, true)));
        refused([](auto& block) { block.h.cols = 36; });
        refused([](auto& block) { block.up.rows = 4; });
        refused([&](auto& block) { block.gate = gated ? MatrixView<const float>() : in.gate.view(); });
        refused([](auto& block) { block.weight = block.weight.first(4); });
        refused([](auto& block) { block.up_bias = block.up_bias.first(36); });
        refused([&](auto& block) {
            block.gate_bias = gated ? std::span<const float>() : std::span<const float>(in.gate_bias.values);
        });
        refused([](auto& block) { block.kept_up.rows = 4; });
        if (gated) refused([](auto& block) { block.kept_gate = {}; });

        Backward<float> backward;
        const auto refused_back = [&](auto&& change) {
            ops::ActivateBackward<float> block = backward.block(kind, forward.kept_gate, forward.kept_up, in);
            change(block);
            CHECK_THROWS_AS(ops::activate_backward(block), ShapeError);
        };
        refused_back([](auto& block) { block.dh.cols = 36; });
        refused_back([](auto& block) { block.dup = {}; });
        refused_back([](auto& block) { block.dot = block.dot.first(4); });
        refused_back([&](auto& block) { block.dgate = gated ? MatrixView<float>() : block.dup; });
        refused_back([](auto& block) { block.weight = block.weight.first(4); });
    }
}
