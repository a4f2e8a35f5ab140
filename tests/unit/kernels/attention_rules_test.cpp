// Attention's rules, alone and together: visibility, windows, widths, caps, biases and dropout against the reference in
// double, and what holds for all of them.
#include <catch2/catch.hpp>

#include "tests/unit/kernels/attention_case.hpp"
#include "tests/unit/kernels/numeric.hpp"

using namespace sy;
using ops::Visibility;
using test::AttentionCase;
using test::relative_error;
using test::TestMatrix;
using test::TestSession;

namespace {

/// |got - wanted| against the largest |wanted|, or 1 where all are small: a row with one key has no gradient.
void check_close(const std::vector<float>& got, const std::vector<float>& wanted, double tolerance) {
    REQUIRE(got.size() == wanted.size());
    double scale = 1.0;
    double difference = 0.0;
    for (std::size_t i = 0; i < got.size(); ++i) {
        REQUIRE(std::isfinite(got[i]));
        scale = std::max(scale, std::fabs(static_cast<double>(wanted[i])));
        difference =
            std::max(difference, std::fabs(static_cast<double>(got[i]) - static_cast<double>(wanted[i])));
    }
    CHECK(difference < tolerance * scale);
}

/// The part of a matrix that belongs to one of `count` sequences.
std::vector<float> part_of_values(const TestMatrix& x, index_t count, index_t sequence) {
    const auto each = static_cast<std::ptrdiff_t>(x.values.size()) / count;
    return {x.values.begin() + sequence * each, x.values.begin() + (sequence + 1) * each};
}

}  // namespace

TEST_CASE("attention: under every rule, forward and backward agree with the reference", "[unit]") {
    const auto numerics = GENERATE(NumericsMode::fast, NumericsMode::reproducible);
    TestSession session(2, numerics);
    for (const test::AttentionVariant& variant : test::attention_variants()) {
        for (const index_t seq_len : {1, 7, 64, 65, 150}) {
            INFO(variant.name << ", S " << seq_len);
            AttentionCase got = case_of(variant, 2, seq_len);
            AttentionCase wanted = got;
            got.run(session.context);
            wanted.run_reference();
            check_close(got.out.values, wanted.out.values, 3e-6);
            check_close(got.dv.values, wanted.dv.values, 1e-5);
            check_close(got.dq.values, wanted.dq.values, 1e-5);
            check_close(got.dk.values, wanted.dk.values, 1e-5);
            check_close(got.dtable.values, wanted.dtable.values, 1e-5);
        }
    }
}

TEST_CASE("attention: rules change what is computed", "[unit]") {
    TestSession session(1);
    AttentionCase plain = case_of(test::attention_variants().front(), 2, 90);
    plain.run(session.context);
    for (const test::AttentionVariant& variant : test::attention_variants()) {
        AttentionCase other = case_of(variant, 2, 90);
        other.run(session.context);
        INFO(variant.name);
        CHECK(other.same_bits(plain) == (variant.name == "causal"));
    }
}

TEST_CASE("attention: under every rule, gradients agree with finite differences of its own forward",
          "[unit]") {
    TestSession session(1);
    const float step = 1.0F / 64.0F;
    for (const test::AttentionVariant& variant : test::attention_variants()) {
        AttentionCase at = case_of(variant, 2, 67);
        at.run(session.context);
        for (int operand = 0; operand < 4; ++operand) {
            TestMatrix AttentionCase::*const value[] = {&AttentionCase::q, &AttentionCase::k,
                                                        &AttentionCase::v, &AttentionCase::table};
            TestMatrix AttentionCase::*const gradient[] = {&AttentionCase::dq, &AttentionCase::dk,
                                                           &AttentionCase::dv, &AttentionCase::dtable};
            const TestMatrix& original = at.*value[operand];
            if (original.values.empty()) continue;
            const TestMatrix direction(original.rows, original.cols,
                                       50 + static_cast<std::uint64_t>(operand));
            AttentionCase ahead = at;
            AttentionCase behind = at;
            add_scaled(step, direction, ahead.*value[operand]);
            add_scaled(-step, direction, behind.*value[operand]);
            ahead.forward(session.context);
            behind.forward(session.context);
            const double slope = (ahead.loss() - behind.loss()) / (2.0 * static_cast<double>(step));
            const TestMatrix& computed = at.*gradient[operand];
            const double size = std::sqrt(inner(computed, computed) * inner(direction, direction));
            INFO(variant.name << ", operand " << operand);
            CHECK(inner(computed, direction) == Approx(slope).margin(1e-3 + 2e-4 * size));
        }
    }
}

TEST_CASE("attention: under every rule, the number of threads changes no bit", "[unit]") {
    const auto numerics = GENERATE(NumericsMode::fast, NumericsMode::reproducible);
    TestSession alone(1, numerics);
    TestSession three(3, numerics);
    for (const test::AttentionVariant& variant : test::attention_variants()) {
        AttentionCase expected = case_of(variant, 3, 130);
        AttentionCase got = expected;
        expected.run(alone.context);
        got.run(three.context);
        INFO(variant.name);
        CHECK(got.same_bits(expected));
    }
}

TEST_CASE("attention: under every rule, a sequence's results do not depend on the others in the call",
          "[unit]") {
    const auto numerics = GENERATE(NumericsMode::fast, NumericsMode::reproducible);
    TestSession session(2, numerics);
    constexpr index_t kLength = 77;
    for (const test::AttentionVariant& variant : test::attention_variants()) {
        INFO(variant.name);
        AttentionCase together = case_of(variant, 3, kLength);
        together.run(session.context);
        AttentionCase alone = case_of(variant, 1, kLength);
        for (index_t sequence = 0; sequence < 3; ++sequence) {
            for (const auto operand :
                 {&AttentionCase::q, &AttentionCase::k, &AttentionCase::v, &AttentionCase::dout})
                (alone.*operand).values = part_of_values(together.*operand, 3, sequence);
            alone.shape.dropout.first_token = together.shape.dropout.first_token + sequence * kLength;
            if (const auto& all = together.first_keys; !all.empty())
                alone.first_keys.assign(all.begin() + sequence * kLength,
                                        all.begin() + (sequence + 1) * kLength);
            alone.run(session.context);
            for (const auto result : {&AttentionCase::out, &AttentionCase::lse, &AttentionCase::dq,
                                      &AttentionCase::dk, &AttentionCase::dv})
                CHECK((alone.*result).values == part_of_values(together.*result, 3, sequence));
        }
        // The table's gradient was added to, sequence by sequence, in both.
        CHECK(alone.dtable.values == together.dtable.values);
        CHECK(alone.fixed_dtable == together.fixed_dtable);
    }
}

TEST_CASE("attention: with queries of zero and all keys visible every row is the mean of the values",
          "[unit]") {
    TestSession session(2);
    AttentionCase got({.num_sequences = 1,
                       .seq_len = 70,
                       .heads = 2,
                       .kv_heads = 1,
                       .head_dim = 4,
                       .key_len = 101,
                       .value_dim = 2,
                       .visibility = Visibility::all});
    std::fill(got.q.values.begin(), got.q.values.end(), 0.0F);
    for (index_t j = 0; j < 101; ++j)
        for (index_t d = 0; d < 2; ++d) got.v.view()(j, d) = static_cast<float>(j * (d + 1));
    got.run(session.context);
    for (index_t i = 0; i < 70; ++i) {
        CHECK(got.lse.view()(i, 1) == Approx(std::log(101.0)));
        CHECK(got.out.view()(i, 2) == Approx(50.0).epsilon(1e-6));
        CHECK(got.out.view()(i, 3) == Approx(100.0).epsilon(1e-6));
    }
    double sum = 0.0;
    for (index_t i = 0; i < 70; ++i)
        sum += static_cast<double>(got.dout.view()(i, 0)) + static_cast<double>(got.dout.view()(i, 2));
    for (index_t j = 0; j < 101; ++j) CHECK(got.dv.view()(j, 0) == Approx(sum / 101.0).margin(2e-6));
}

TEST_CASE("attention: one visible key gives its value, and no gradient to queries and keys", "[unit]") {
    TestSession session(1);
    const ops::AttentionShape window{
        .num_sequences = 1, .seq_len = 70, .heads = 1, .kv_heads = 1, .head_dim = 8, .window = 1};
    const ops::AttentionShape single{.num_sequences = 1,
                                     .seq_len = 70,
                                     .heads = 1,
                                     .kv_heads = 1,
                                     .head_dim = 8,
                                     .key_len = 1,
                                     .visibility = Visibility::all};
    for (const ops::AttentionShape& shape : {window, single}) {
        AttentionCase got(shape);
        got.run(session.context);
        for (index_t i = 0; i < 70; ++i) {
            for (index_t d = 0; d < 8; ++d) {
                CHECK(got.out.view()(i, d) ==
                      Approx(got.v.view()(shape.window == 1 ? i : 0, d)).epsilon(1e-6));
                CHECK(std::fabs(got.dq.view()(i, d)) < 1e-5F);
            }
        }
        for (const float x : got.dk.values) CHECK(std::fabs(x) < 2e-5F);
    }
}

TEST_CASE("attention: with queries of zero a window gives the mean of its last values", "[unit]") {
    TestSession session(1);
    AttentionCase got(
        {.num_sequences = 1, .seq_len = 150, .heads = 1, .kv_heads = 1, .head_dim = 2, .window = 9});
    std::fill(got.q.values.begin(), got.q.values.end(), 0.0F);
    for (index_t j = 0; j < 150; ++j) got.v.view()(j, 0) = static_cast<float>(j);
    got.forward(session.context);
    for (index_t i = 0; i < 150; ++i) {
        const auto first = static_cast<double>(std::max<index_t>(i - 8, 0));
        CHECK(got.out.view()(i, 0) == Approx((first + static_cast<double>(i)) / 2.0).epsilon(1e-6));
        CHECK(got.lse.view()(i, 0) ==
              Approx(std::log(static_cast<double>(std::min<index_t>(i + 1, 9)))).margin(1e-6));
    }
}

TEST_CASE("attention: a window that reaches the beginning changes no bit", "[unit]") {
    const auto numerics = GENERATE(NumericsMode::fast, NumericsMode::reproducible);
    TestSession session(2, numerics);
    AttentionCase plain({2, 130, 4, 2, 12, 0.3F});
    AttentionCase windowed = plain;
    windowed.shape.window = 130;
    AttentionCase shorter = plain;
    shorter.shape.window = 129;
    plain.run(session.context);
    windowed.run(session.context);
    shorter.run(session.context);
    CHECK(windowed.same_bits(plain));
    CHECK_FALSE(shorter.same_bits(plain));
}

TEST_CASE("attention: keys before the window are not read, and need no room", "[unit]") {
    TestSession session(1);
    AttentionCase got(
        {.num_sequences = 1, .seq_len = 400, .heads = 2, .kv_heads = 1, .head_dim = 8, .window = 10});
    for (index_t d = 0; d < 8; ++d) got.k.view()(3, d) = got.v.view()(3, d) = std::nanf("");
    got.run(session.context);
    CHECK(std::isnan(got.out.view()(3, 0)));
    for (index_t i = 64; i < 400; ++i) {
        for (index_t d = 0; d < 16; ++d) {
            REQUIRE(std::isfinite(got.out.view()(i, d)));
            REQUIRE(std::isfinite(got.dq.view()(i, d)));
        }
        REQUIRE(std::isfinite(got.dk.view()(i, 0)));
        REQUIRE(std::isfinite(got.dv.view()(i, 0)));
    }
    const auto peak = [&](index_t window) {
        TestSession fresh(1);
        AttentionCase at({.num_sequences = 1,
                          .seq_len = 2000,
                          .heads = 1,
                          .kv_heads = 1,
                          .head_dim = 1,
                          .window = window});
        at.forward(fresh.context);
        return fresh.device.arena().peak_bytes();
    };
    CHECK(peak(10) * 8 < peak(0));
}

TEST_CASE("attention: keys of another document are not read", "[unit]") {
    TestSession session(1);
    AttentionCase got({.num_sequences = 1, .seq_len = 200, .heads = 2, .kv_heads = 1, .head_dim = 8});
    got.use_documents(128);
    // Bits of the second document do not depend on the first, nor gradients of the first on the second.
    AttentionCase other = got;
    for (index_t row = 0; row < 128; ++row)
        for (index_t d = 0; d < 8; ++d) other.k.view()(row, d) = other.v.view()(row, d) = std::nanf("");
    got.run(session.context);
    other.run(session.context);
    for (index_t row = 128; row < 200; ++row) {
        for (index_t d = 0; d < 16; ++d) {
            REQUIRE(got.out.view()(row, d) == other.out.view()(row, d));
            REQUIRE(got.dq.view()(row, d) == other.dq.view()(row, d));
        }
        REQUIRE(got.dk.view()(row, 0) == other.dk.view()(row, 0));
        REQUIRE(got.dv.view()(row, 0) == other.dv.view()(row, 0));
    }
}

TEST_CASE("attention: a huge cap caps nothing, a small one levels the scores", "[unit]") {
    TestSession session(1);
    AttentionCase plain({1, 90, 2, 2, 12, 0.3F});
    AttentionCase huge = plain;
    huge.shape.soft_cap = 1e6F;
    AttentionCase small = plain;
    small.shape.soft_cap = 1e-5F;
    AttentionCase level = plain;
    std::fill(level.q.values.begin(), level.q.values.end(), 0.0F);
    for (AttentionCase* at : {&plain, &huge, &small, &level}) at->run(session.context);
    CHECK(relative_error(huge.out.values, plain.out.values) < 3e-6);
    CHECK(relative_error(huge.dq.values, plain.dq.values) < 1e-5);
    CHECK(relative_error(huge.dk.values, plain.dk.values) < 1e-5);
    CHECK(relative_error(small.out.values, level.out.values) < 3e-5);
    CHECK(relative_error(small.dv.values, level.dv.values) < 3e-5);
}

TEST_CASE("attention: capped scores are the formula's", "[unit]") {
    TestSession session(1);
    // One query on two keys, whose products are 3 and -2.
    AttentionCase got({.num_sequences = 1,
                       .seq_len = 1,
                       .heads = 1,
                       .kv_heads = 1,
                       .head_dim = 1,
                       .scale = 2.0F,
                       .key_len = 2,
                       .visibility = Visibility::all,
                       .soft_cap = 5.0F});
    got.q.values = {1.0F};
    got.k.values = {3.0F, -2.0F};
    got.v.values = {1.0F, 0.0F};
    got.forward(session.context);
    const double first = std::exp(5.0 * std::tanh(6.0 / 5.0));
    const double second = std::exp(5.0 * std::tanh(-4.0 / 5.0));
    CHECK(got.lse.values[0] == Approx(std::log(first + second)).epsilon(1e-6));
    CHECK(got.out.values[0] == Approx(first / (first + second)).epsilon(1e-6));
}

TEST_CASE("attention: rules that contradict each other or the operands are refused", "[unit]") {
    TestSession session(1);
    const auto refused = [&](const auto& spoil) {
        AttentionCase bad({2, 5, 4, 2, 8, 0.3F});
        spoil(bad);
        CHECK_THROWS_AS(bad.run(session.context), ShapeError);
    };
    AttentionCase good({2, 5, 4, 2, 8, 0.3F});
    CHECK_NOTHROW(good.run(session.context));
    refused([](AttentionCase& bad) { bad.shape.key_len = 4; });
    refused([](AttentionCase& bad) { bad.shape.key_len = -5; });
    refused([](AttentionCase& bad) {
        bad.shape.visibility = Visibility::all;
        bad.shape.key_len = 4;
    });
    refused([](AttentionCase& bad) { bad.shape.window = -1; });
    refused([](AttentionCase& bad) {
        bad.shape.visibility = Visibility::all;
        bad.shape.window = 2;
    });
    refused([](AttentionCase& bad) { bad.shape.value_dim = 7; });
    refused([](AttentionCase& bad) { bad.shape.value_dim = -8; });
    refused([](AttentionCase& bad) { bad.shape.soft_cap = -1.0F; });
    refused([](AttentionCase& bad) { bad.shape.soft_cap = HUGE_VALF; });
    refused([](AttentionCase& bad) { bad.shape.soft_cap = 1e-40F; });
    refused([](AttentionCase& bad) { bad.shape.scale = 0.0F; });
    refused([](AttentionCase& bad) { bad.shape.scale = HUGE_VALF; });
    refused([](AttentionCase& bad) { bad.shape.dropout.probability = 1.0F; });
    refused([](AttentionCase& bad) { bad.shape.dropout.probability = -0.1F; });
    refused([](AttentionCase& bad) { bad.shape.dropout.first_token = -1; });
    refused([](AttentionCase& bad) { bad.slopes = {0.5F}; });
    refused([](AttentionCase& bad) { bad.first_keys.assign(9, 0); });
    refused([](AttentionCase& bad) { bad.first_keys = {0, 0, 3, 3, 3, 0, 0, 0, 0, 0}; });
    refused([](AttentionCase& bad) { bad.first_keys = {0, 1, 0, 3, 3, 0, 0, 0, 0, 0}; });
    refused([](AttentionCase& bad) { bad.first_keys = {0, -1, 0, 0, 0, 0, 0, 0, 0, 0}; });
    refused([](AttentionCase& bad) {
        bad.first_keys.assign(10, 0);
        bad.shape.visibility = Visibility::all;
    });
    refused([](AttentionCase& bad) { bad.use_table(1, 128); });
    refused([](AttentionCase& bad) { bad.use_table(8, 4); });
    refused([](AttentionCase& bad) {
        bad.use_table(7, 128);
        bad.shape.visibility = Visibility::all;
    });
    refused([](AttentionCase& bad) {
        bad.use_table(8, 128);
        bad.use_alibi();
    });
    refused([](AttentionCase& bad) {
        bad.use_table(8, 128);
        bad.table.cols = 3;
    });
    refused([](AttentionCase& bad) { bad.dout.cols = 31; });
    // A gradient for a table that is not there.
    std::uint8_t overflow = 0;
    ops::AttentionBackward operands = good.backward_operands();
    std::vector<float> dtable(32);
    operands.dtable = GradientView{dtable.data(), nullptr, 8, 4, &overflow};
    CHECK_THROWS_AS(ops::attention_backward(good.shape, operands, session.context), ShapeError);
}
