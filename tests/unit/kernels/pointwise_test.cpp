#include "kernels/ops/pointwise/pointwise.hpp"

#include <catch2/catch.hpp>

#include "kernels/ops/activation/activation.hpp"
#include "tests/unit/kernels/numeric.hpp"

using namespace sy;
using test::relative_error;
using test::TestMatrix;
using test::TestSession;

TEST_CASE("clip: values stop at the limit, their gradients are 0, and others pass to the bit", "[unit]") {
    const index_t cols = GENERATE(1, 15, 16, 77);
    TestSession session(2);
    TestMatrix x(19, cols, 1, 3.0F);
    TestMatrix wanted = x;
    x.values[0] = wanted.values[0] = 2.0F;
    ops::clip(x.view(), 2.0F, session.context);
    ops::ref::clip(wanted.view(), 2.0F);
    CHECK(test::same_bits(x.values, wanted.values));
    TestMatrix gradient(19, cols, 2);
    TestMatrix expected = gradient;
    ops::clip_backward(x.view(), 2.0F, gradient.view(), session.context);
    ops::ref::clip_backward(x.view(), 2.0F, expected.view());
    CHECK(test::same_bits(gradient.values, expected.values));
    CHECK(gradient.values[0] == 0.0F);
    const auto stopped = std::count(gradient.values.begin(), gradient.values.end(), 0.0F);
    CHECK(stopped >= 1);
    CHECK((cols == 1 || stopped < std::ssize(gradient.values)));
}

TEST_CASE("sigmoid: forward and slope agree with the reference, large numbers included", "[unit]") {
    const index_t cols = GENERATE(1, 16, 45);
    TestSession session(2);
    TestMatrix x(11, cols, 1, 20.0F);
    TestMatrix wanted = x;
    ops::sigmoid(x.view(), session.context);
    ops::ref::sigmoid(wanted.view());
    CHECK(relative_error(x.values, test::widened(wanted.values)) < 3e-7);
    TestMatrix gradient(11, cols, 2);
    TestMatrix expected = gradient;
    ops::sigmoid_backward(x.view(), gradient.view(), session.context);
    ops::ref::sigmoid_backward(x.view(), expected.view());
    CHECK(relative_error(gradient.values, test::widened(expected.values)) < 3e-6);
}

TEST_CASE("nonlinearity: every activation without a gate, and its slope", "[unit]") {
    const ops::Activation kind =
        GENERATE(ops::Activation::relu, ops::Activation::gelu, ops::Activation::gelu_tanh,
                 ops::Activation::silu, ops::Activation::squared_relu);
    INFO(ops::activation_name(kind));
    TestSession session(2);
    const TestMatrix x(9, 37, 1, 2.0F);
    const TestMatrix dy(9, 37, 2);
    TestMatrix y(9, 37);
    TestMatrix dx(9, 37);
    std::vector<double> value;
    std::vector<double> slope;
    for (std::size_t i = 0; i < x.values.size(); ++i) {
        const auto at = static_cast<double>(x.values[i]);
        value.push_back(ops::ref::nonlinearity(kind, at));
        slope.push_back(ops::ref::nonlinearity_slope(kind, at) * static_cast<double>(dy.values[i]));
    }
    ops::nonlinearity(kind, x.view(), y.view(), session.context);
    CHECK(relative_error(y.values, value) < 1e-6);
    TestMatrix again(9, 37);
    ops::nonlinearity_backward(kind, {x.view(), dy.view(), again.view(), dx.view()}, session.context);
    CHECK(relative_error(dx.values, slope) < 1e-5);
    CHECK(relative_error(again.values, value) < 1e-6);
}

TEST_CASE("pointwise operations: what is no number shows, and what does not fit is refused", "[unit]") {
    TestSession session;
    TestMatrix x(3, 20, 1);
    x.values[5] = std::nanf("");
    TestMatrix y = x;
    ops::clip(x.view(), 1.0F, session.context);
    ops::sigmoid(y.view(), session.context);
    CHECK(std::isnan(x.values[5]));
    CHECK(std::isnan(y.values[5]));
    TestMatrix other(3, 19);
    CHECK_THROWS_AS(ops::clip_backward(x.view(), 1.0F, other.view(), session.context), ShapeError);
    CHECK_THROWS_AS(ops::sigmoid_backward(x.view(), other.view(), session.context), ShapeError);
    CHECK_THROWS_AS(ops::clip(x.view(), 0.0F, session.context), LogicError);
    CHECK_THROWS_AS(ops::nonlinearity(ops::Activation::swiglu, x.view(), y.view(), session.context),
                    LogicError);
    CHECK_THROWS_AS(ops::nonlinearity(ops::Activation::gelu, x.view(), other.view(), session.context),
                    ShapeError);
}
