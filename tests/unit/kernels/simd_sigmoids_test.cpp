#include <catch2/catch.hpp>

#include <cmath>
#include <limits>
#include <vector>

#include "kernels/core/simd_erf.hpp"
#include "kernels/core/simd_tanh.hpp"
#include "tests/unit/kernels/numeric.hpp"

using namespace sy;

namespace {

struct Erf {
    static SY_INLINE simd::f32x16 of(simd::f32x16 x) { return simd::erf(x); }
    static long double exact(long double x) { return std::erf(x); }
    static constexpr float kSaturated = 4.0F;
};

struct Tanh {
    static SY_INLINE simd::f32x16 of(simd::f32x16 x) { return simd::tanh(x); }
    static long double exact(long double x) { return std::tanh(x); }
    static constexpr float kSaturated = 20.0F;
};

template <class Function>
SY_INLINE void evaluate(const std::vector<float>& x, std::vector<float>& y) {
    simd::for_lanes(static_cast<index_t>(x.size()), [&](index_t i, auto load, auto store) SY_BODY {
        store(y.data() + i, Function::of(load(x.data() + i)));
    });
}

template <class Function>
std::vector<float> on_chosen_isa(const std::vector<float>& x) {
    std::vector<float> y(x.size(), -7.0F);
    simd::for_isa([&]() SY_BODY { evaluate<Function>(x, y); });
    return y;
}

template <class Function>
std::vector<float> on_baseline(const std::vector<float>& x) {
    std::vector<float> y(x.size(), -7.0F);
    evaluate<Function>(x, y);
    return y;
}

/// Floats of both signs from 2^-31 to 64, by steps of a prime in the bits.
std::vector<float> arguments() {
    std::vector<float> x;
    for (std::uint32_t bits = 0x30000000U; bits < 0x42800000U; bits += 1009) {
        x.push_back(std::bit_cast<float>(bits));
        x.push_back(-x.back());
    }
    return x;
}

}  // namespace

TEMPLATE_TEST_CASE("simd: within two units in the last place over its range", "[unit]", Erf, Tanh) {
    const std::vector<float> x = arguments();
    REQUIRE(x.size() > 500000);
    const std::vector<float> y = on_chosen_isa<TestType>(x);
    long double worst = 0.0L;
    for (std::size_t i = 0; i < x.size(); ++i) {
        const long double wanted = TestType::exact(x[i]);
        int exponent = 0;
        std::frexp(wanted, &exponent);
        worst = std::max(worst, std::fabs(y[i] - wanted) / std::ldexp(1.0L, exponent - 24));
    }
    CAPTURE(static_cast<double>(worst));
    CHECK(worst < 2.0L);
}

TEMPLATE_TEST_CASE("simd: odd, never beyond 1, exact at its ends and at 0, and lets NaN through", "[unit]",
                   Erf, Tanh) {
    const std::vector<float> x = arguments();
    const std::vector<float> y = on_chosen_isa<TestType>(x);
    for (std::size_t i = 0; i < x.size(); i += 2) {
        REQUIRE(y[i] == -y[i + 1]);
        REQUIRE((y[i] > 0.0F && y[i] <= 1.0F));
    }
    constexpr float kInfinity = std::numeric_limits<float>::infinity();
    const std::vector<float> ends =
        on_chosen_isa<TestType>({kInfinity, -kInfinity, std::numeric_limits<float>::max(),
                                 -TestType::kSaturated, 0.0F, -0.0F, std::nanf(""), -std::nanf("")});
    CHECK(ends[0] == 1.0F);
    CHECK(ends[1] == -1.0F);
    CHECK(ends[2] == 1.0F);
    CHECK(ends[3] == -1.0F);
    CHECK(test::same_bits({ends[4], ends[5]}, {0.0F, -0.0F}));
    CHECK(std::isnan(ends[6]));
    CHECK(std::isnan(ends[7]));
}

TEST_CASE("simd: tanh of a subnormal is the subnormal", "[unit]") {
    CHECK(test::same_bits(on_chosen_isa<Tanh>({1e-40F, -1e-40F}), {1e-40F, -1e-40F}));
}

TEMPLATE_TEST_CASE("simd: the same bits on every instruction set", "[unit]", Erf, Tanh) {
    const std::vector<float> x = arguments();
    CHECK(test::same_bits(on_chosen_isa<TestType>(x), on_baseline<TestType>(x)));
}
