// Attention against its reference in double, closed forms, finite differences, and the promises of its contract.
#include "kernels/ops/attention/attention.hpp"

#include <catch2/catch.hpp>

#include "tests/unit/kernels/attention_case.hpp"

using namespace sy;
using test::add_scaled;
using test::inner;
using test::relative_error;
using test::TestMatrix;
using test::TestSession;

namespace {

using Attention = test::AttentionCase;

void check_against_reference(const ops::AttentionShape& shape, NumericsMode numerics) {
    INFO("S " << shape.seq_len << ", D " << shape.head_dim << ", heads " << shape.heads << " / "
              << shape.kv_heads);
    TestSession session(2, numerics);
    Attention got(shape, 10);
    Attention wanted(shape, 10);
    got.run(session.context);
    wanted.run_reference();
    CHECK(relative_error(got.out.values, wanted.out.values) < 3e-6);
    CHECK(relative_error(got.dv.values, wanted.dv.values) < 1e-5);
    // Over a single key nothing can shift: dq and dk are differences of equal numbers.
    if (shape.seq_len == 1) {
        for (const float x : got.dq.values) CHECK(std::fabs(x) < 1e-5F);
        for (const float x : got.dk.values) CHECK(std::fabs(x) < 1e-5F);
        return;
    }
    CHECK(relative_error(got.dq.values, wanted.dq.values) < 1e-5);
    CHECK(relative_error(got.dk.values, wanted.dk.values) < 1e-5);
}

}  // namespace

TEST_CASE("attention: forward and backward agree with the reference for every length and head sharing",
          "[unit]") {
    const auto numerics = GENERATE(NumericsMode::fast, NumericsMode::reproducible);
    for (const index_t seq_len : {1, 7, 16, 63, 64, 65, 130}) {
        for (const auto& [heads, kv_heads] : {std::pair{3, 3}, {4, 2}, {4, 1}})
            check_against_reference({2, seq_len, heads, kv_heads, 10, 0.3F}, numerics);
    }
}

TEST_CASE("attention: forward and backward agree with the reference for every head width", "[unit]") {
    const auto numerics = GENERATE(NumericsMode::fast, NumericsMode::reproducible);
    for (const index_t head_dim : {8, 15, 16, 17, 36, 64, 80, 128}) {
        const float scale = 1.0F / std::sqrt(static_cast<float>(head_dim));
        check_against_reference({1, 75, 2, 1, head_dim, scale}, numerics);
    }
}

TEST_CASE("attention: with queries of zero every row is the mean of what came before", "[unit]") {
    constexpr index_t kLength = 150;
    TestSession session(2);
    Attention got({1, kLength, 2, 1, 4, 0.5F}, 10);
    std::fill(got.q.values.begin(), got.q.values.end(), 0.0F);
    for (index_t s = 0; s < kLength; ++s)
        for (index_t d = 0; d < 4; ++d) got.v.view()(s, d) = static_cast<float>(s * (d + 1));
    got.run(session.context);
    for (index_t s = 0; s < kLength; ++s) {
        CHECK(got.lse.view()(s, 1) == Approx(std::log(static_cast<double>(s + 1))).margin(1e-6));
        for (index_t d = 0; d < 4; ++d)
            CHECK(got.out.view()(s, 4 + d) == Approx(0.5 * static_cast<double>(s * (d + 1))).epsilon(1e-6));
    }
    // The value of key j is read by every row from j on, with weight 1 / (row + 1), in both heads.
    for (index_t j = 0; j < kLength; ++j) {
        double expected = 0.0;
        for (index_t s = j; s < kLength; ++s) {
            const double both = static_cast<double>(got.dout.view()(s, 0)) + got.dout.view()(s, 4);
            expected += both / static_cast<double>(s + 1);
        }
        CHECK(got.dv.view()(j, 0) == Approx(expected).margin(2e-6));
    }
}

TEST_CASE("attention: scores of several thousand neither overflow nor lose the row", "[unit]") {
    const auto numerics = GENERATE(NumericsMode::fast, NumericsMode::reproducible);
    TestSession session(2, numerics);
    Attention got({2, 70, 4, 2, 16, 0.25F}, 10, 60.0F);
    Attention wanted({2, 70, 4, 2, 16, 0.25F}, 10, 60.0F);
    got.run(session.context);
    wanted.run_reference();
    // Scores of 4000 are known to 2^-12 only: so is the logarithm of a probability.
    CHECK(relative_error(got.out.values, wanted.out.values) < 2e-3);
    CHECK(relative_error(got.dv.values, wanted.dv.values) < 2e-3);
    CHECK(relative_error(got.dq.values, wanted.dq.values) < 5e-3);
    CHECK(relative_error(got.dk.values, wanted.dk.values) < 5e-3);
}

TEST_CASE("attention: with one overwhelming key the output is its value, exactly", "[unit]") {
    constexpr index_t kLength = 100;
    TestSession session(1);
    Attention got({1, kLength, 1, 1, 128, 1.0F}, 10);
    std::fill(got.q.values.begin(), got.q.values.end(), 0.0F);
    std::fill(got.k.values.begin(), got.k.values.end(), 0.0F);
    for (index_t s = 0; s < kLength; ++s) {
        got.k.view()(s, s) = 1000.0F;
        got.q.view()(s, s / 2) = 1.0F;
    }
    got.forward(session.context);
    for (index_t s = 0; s < kLength; ++s) {
        for (index_t d = 0; d < 128; ++d) CHECK(got.out.view()(s, d) == got.v.view()(s / 2, d));
    }
}

TEST_CASE("attention: gradients agree with finite differences of its own forward", "[unit]") {
    const auto numerics = GENERATE(NumericsMode::fast, NumericsMode::reproducible);
    TestSession session(1, numerics);
    const ops::AttentionShape shape{2, 67, 4, 2, 12, 0.3F};
    Attention at(shape, 10);
    at.run(session.context);
    const float step = 1.0F / 64.0F;
    // One random direction for each operand.
    for (int operand = 0; operand < 3; ++operand) {
        TestMatrix Attention::*const value[] = {&Attention::q, &Attention::k, &Attention::v};
        TestMatrix Attention::*const gradient[] = {&Attention::dq, &Attention::dk, &Attention::dv};
        const TestMatrix& original = at.*value[operand];
        const TestMatrix direction(original.rows, original.cols, 50 + static_cast<std::uint64_t>(operand));
        Attention ahead = at;
        Attention behind = at;
        add_scaled(step, direction, ahead.*value[operand]);
        add_scaled(-step, direction, behind.*value[operand]);
        ahead.forward(session.context);
        behind.forward(session.context);
        const double slope = (ahead.loss() - behind.loss()) / (2.0 * static_cast<double>(step));
        INFO("operand " << operand);
        const TestMatrix& computed = at.*gradient[operand];
        const double size = std::sqrt(inner(computed, computed) * inner(direction, direction));
        CHECK(inner(computed, direction) == Approx(slope).margin(1e-4 * size));
    }
}

TEST_CASE("attention: a later token changes no earlier output, bit for bit", "[unit]") {
    const auto numerics = GENERATE(NumericsMode::fast, NumericsMode::reproducible);
    TestSession session(2, numerics);
    const ops::AttentionShape shape{1, 130, 4, 2, 20, 0.25F};
    Attention before(shape, 10);
    before.forward(session.context);
    for (const index_t changed : {1, 40, 64, 129}) {
        Attention after(shape, 10);
        for (index_t s = changed; s < 130; ++s) {
            for (float& x : after.q.view().row_span(s)) x = 3.0F;
            for (float& x : after.k.view().row_span(s)) x = -x;
            for (float& x : after.v.view().row_span(s)) x *= 1e6F;
        }
        after.forward(session.context);
        const std::ptrdiff_t earlier = changed * 80;
        CHECK(std::equal(before.out.values.begin(), before.out.values.begin() + earlier,
                         after.out.values.begin()));
        CHECK_FALSE(std::equal(before.out.values.begin() + earlier, before.out.values.end(),
                               after.out.values.begin() + earlier));
    }
}

TEST_CASE("attention: the number of threads changes no bit", "[unit]") {
    const auto numerics = GENERATE(NumericsMode::fast, NumericsMode::reproducible);
    const ops::AttentionShape shape{2, 200, 4, 2, 24, 0.2F};
    TestSession alone(1, numerics);
    Attention expected(shape, 10);
    expected.run(alone.context);
    for (const int threads : {2, 3}) {
        TestSession session(threads, numerics);
        Attention got(shape, 10);
        got.run(session.context);
        CHECK(got.same_bits(expected));
    }
}

TEST_CASE("attention: a sequence's results do not depend on the others in the call, bit for bit", "[unit]") {
    const auto numerics = GENERATE(NumericsMode::fast, NumericsMode::reproducible);
    TestSession session(2, numerics);
    constexpr index_t kLength = 77;
    Attention together({3, kLength, 4, 2, 9, 0.3F}, 10);
    together.run(session.context);
    Attention alone({1, kLength, 4, 2, 9, 0.3F}, 10);
    const auto third = [](const TestMatrix& x) {
        return std::vector<float>(x.values.begin() + 2 * kLength * x.cols, x.values.end());
    };
    alone.q.values = third(together.q);
    alone.k.values = third(together.k);
    alone.v.values = third(together.v);
    alone.dout.values = third(together.dout);
    alone.run(session.context);
    CHECK(alone.out.values == third(together.out));
    CHECK(alone.lse.values == third(together.lse));
    CHECK(alone.dq.values == third(together.dq));
    CHECK(alone.dk.values == third(together.dk));
    CHECK(alone.dv.values == third(together.dv));
}

TEST_CASE("attention: decode equals the last row of forward for caches of different lengths", "[unit]") {
    const auto threads = GENERATE(1, 3);
    TestSession session(threads);
    constexpr index_t kCapacity = 140;
    constexpr index_t kDim = 20;
    Attention cache({3, kCapacity, 6, 2, kDim, 0.25F}, 10);
    ops::ref::attention(cache.shape, cache.q.view(), cache.k.view(), cache.v.view(), cache.out.view());
    const std::vector<index_t> lengths{1, 65, 140};
    TestMatrix queries(3, 6 * kDim);
    std::vector<float> expected;
    for (index_t b = 0; b < 3; ++b) {
        const index_t row = b * kCapacity + lengths[static_cast<std::size_t>(b)] - 1;
        std::copy_n(cache.q.view().row(row), 6 * kDim, queries.view().row(b));
        expected.insert(expected.end(), cache.out.view().row(row), cache.out.view().row(row) + 6 * kDim);
    }
    // Rows beyond a cache's length hold anything.
    for (index_t s = 65; s < kCapacity; ++s) {
        for (float& x : cache.k.view().row_span(kCapacity + s)) x = std::nanf("");
        for (float& x : cache.v.view().row_span(kCapacity + s)) x = std::nanf("");
    }
    TestMatrix decoded(3, 6 * kDim, 99);
    ops::attention_decode(cache.shape, queries.view(), cache.k.view(), cache.v.view(),
                          {std::vector<index_t>{0, 1, 2}, lengths, kCapacity}, decoded.view(),
                          session.context);
    CHECK(relative_error(decoded.values, expected) < 3e-6);
}

TEST_CASE("attention: what is not a number shows in the output", "[unit]") {
    TestSession session(1);
    Attention got({1, 40, 1, 1, 8, 0.3F}, 10);
    got.k.view()(3, 2) = std::nanf("");
    got.forward(session.context);
    CHECK(std::isfinite(got.out.view()(2, 0)));
    for (index_t s = 3; s < 40; ++s) CHECK(std::isnan(got.out.view()(s, 0)));
}

TEST_CASE("attention: no sequences is no work", "[unit]") {
    TestSession session(2);
    Attention got({0, 40, 4, 2, 8, 0.3F}, 10);
    got.run(session.context);
    CHECK(session.device.arena().peak_bytes() == 0);
}

TEST_CASE("attention: operands that do not fit are refused", "[unit]") {
    TestSession session(1);
    const auto refused = [&](const auto& spoil) {
        Attention bad({2, 5, 4, 2, 8, 0.3F}, 10);
        spoil(bad);
        CHECK_THROWS_AS(bad.run(session.context), ShapeError);
    };
    refused([](Attention& bad) { bad.shape.kv_heads = 3; });
    refused([](Attention& bad) { bad.shape.kv_heads = 0; });
    refused([](Attention& bad) { bad.shape.seq_len = 6; });
    refused([](Attention& bad) { bad.shape.head_dim = 7; });
    refused([](Attention& bad) { bad.shape.scale = 0.0F; });
    refused([](Attention& bad) { bad.k.rows = 9; });
    refused([](Attention& bad) { bad.v.cols = 8; });
    refused([](Attention& bad) { bad.out.rows = 9; });
    refused([](Attention& bad) { bad.lse.cols = 2; });
    refused([](Attention& bad) { bad.dq.cols = 8; });
    refused([](Attention& bad) { bad.dk.rows = 9; });
    const TestMatrix q(1, 32, 1);
    const TestMatrix cache(5, 16, 2);
    TestMatrix out(1, 32);
    const auto decode = [&](index_t which, index_t length) {
        ops::attention_decode({1, 1, 4, 2, 8, 0.3F}, q.view(), cache.view(), cache.view(),
                              {std::span(&which, 1), std::span(&length, 1), 5}, out.view(), session.context);
    };
    CHECK_NOTHROW(decode(0, 5));
    CHECK_THROWS_AS(decode(0, 0), ShapeError);
    CHECK_THROWS_AS(decode(0, 6), ShapeError);
    CHECK_THROWS_AS(decode(1, 5), ShapeError);
    CHECK_THROWS_AS(decode(-1, 5), ShapeError);
}
