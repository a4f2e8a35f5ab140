// Time and arithmetic by kind of operation.
#include <catch2/catch.hpp>

#include "kernels/core/profile.hpp"
#include "kernels/ops/norm/norm.hpp"
#include "kernels/ops/reduce/reduce.hpp"
#include "tests/support/session.hpp"

using namespace sy;
using test::TestMatrix;
using test::TestSession;

TEST_CASE(
    "profile: products count every multiply-add once, and take their time out of the operation they are in",
    "[unit]") {
    TestSession session(2, GENERATE(NumericsMode::fast, NumericsMode::reproducible));
    Profile profile;
    session.context.profile = &profile;
    const TestMatrix a(300, 70, 1);
    const TestMatrix b(70, 130, 2);
    TestMatrix c(300, 130);
    ops::multiply({a.view(), ops::Transpose::no, b.view(), ops::Transpose::no, c.view()}, session.context);
    CHECK(profile.entry(OpKind::product).flops == 2.0 * 300 * 70 * 130);
    CHECK(profile.entry(OpKind::product).seconds > 0.0);
    CHECK(profile.entry(OpKind::normalisation).flops == 0.0);
    {
        // An operation around products keeps what they leave.
        const Timed timed(session.context, OpKind::softmax, 5.0);
        ops::multiply_on_this_thread<float>(
            {a.view(), ops::Transpose::no, b.view(), ops::Transpose::no, c.view()}, session.context);
        ops::add(a.view(), TestMatrix(300, 70).view(), session.context);
    }
    CHECK(profile.entry(OpKind::product).flops == 4.0 * 300 * 70 * 130);
    CHECK(profile.entry(OpKind::softmax).flops == 5.0);
    CHECK(profile.entry(OpKind::softmax).seconds > 0.0);
    // The addition was inside another operation: it counts as that one.
    CHECK(profile.entry(OpKind::elementwise).flops == 0.0);
    profile.clear();
    for (const OpKind kind : kOpKinds) CHECK(profile.entry(kind).seconds == 0.0);
}

TEST_CASE("profile: operations report their kind, and nothing without a profile", "[unit]") {
    TestSession session(1);
    Profile profile;
    const TestMatrix x(20, 32, 1);
    const std::vector<float> gain(32, 1.0F);
    TestMatrix y(20, 32);
    std::vector<float> rstd(20);
    const ops::Norm rule{.kind = ops::NormKind::rms, .gain = host_operand(std::span(gain)), .bias = {}};
    ops::norm(rule, x.view(), y.view(), {host_operand(std::span(rstd)), {}}, session.context);
    CHECK(profile.entry(OpKind::normalisation).seconds == 0.0);
    session.context.profile = &profile;
    ops::norm(rule, x.view(), y.view(), {host_operand(std::span(rstd)), {}}, session.context);
    CHECK(profile.entry(OpKind::normalisation).flops == 4.0 * 20 * 32);
    CHECK(profile.entry(OpKind::normalisation).seconds > 0.0);
}
