#include "kernels/core/simd_erf.hpp"

#include <catch2/catch.hpp>

#include <cmath>
#include <limits>
#include <vector>

#include "tests/unit/kernels/numeric.hpp"

using namespace sy;

namespace {

SY_INLINE void erf_loop(const std::vector<float>& x, std::vector<float>& y) {
    const auto count = static_cast<index_t>(x.size());
    simd::for_lanes(count, [&](index_t i, auto load, auto store)
                               SY_BODY { store(y.data() + i, simd::erf(load(x.data() + i))); });
}
void erf_chosen(const std::vector<float>& x, std::vector<float>& y) {
    simd::for_isa([=, &x, &y]() SY_BODY { erf_loop(x, y); });
}
void erf_baseline(const std::vector<float>& x, std::vector<float>& y) {
    erf_loop(x, y);
}

std::vector<float> erf_of(const std::vector<float>& x) {
    std::vector<float> y(x.size(), -7.0F);
    erf_chosen(x, y);
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

TEST_CASE("simd: erf is within two units in the last place over its range", "[unit]") {
    const std::vector<float> x = arguments();
    REQUIRE(x.size() > 500000);
    const std::vector<float> y = erf_of(x);
    long double worst = 0.0L;
    for (std::size_t i = 0; i < x.size(); ++i) {
        const long double wanted = std::erf(static_cast<long double>(x[i]));
        int exponent = 0;
        std::frexp(wanted, &exponent);
        worst = std::max(
            worst, std::fabs(static_cast<long double>(y[i]) - wanted) / std::ldexp(1.0L, exponent - 24));
    }
    CAPTURE(static_cast<double>(worst));
    CHECK(worst < 2.0L);
}

TEST_CASE("simd: erf is odd, never beyond 1, exact at its ends and at 0, and lets NaN through", "[unit]") {
    const std::vector<float> x = arguments();
    const std::vector<float> y = erf_of(x);
    for (std::size_t i = 0; i < x.size(); i += 2) {
        REQUIRE(y[i] == -y[i + 1]);
        REQUIRE((y[i] > 0.0F && y[i] <= 1.0F));
    }
    constexpr float kInfinity = std::numeric_limits<float>::infinity();
    const std::vector<float> ends = erf_of({kInfinity, -kInfinity, std::numeric_limits<float>::max(), -4.0F,
                                            0.0F, -0.0F, std::nanf(""), -std::nanf("")});
    CHECK(ends[0] == 1.0F);
    CHECK(ends[1] == -1.0F);
    CHECK(ends[2] == 1.0F);
    CHECK(ends[3] == -1.0F);
    CHECK(test::same_bits({ends[4], ends[5]}, {0.0F, -0.0F}));
    CHECK(std::isnan(ends[6]));
    CHECK(std::isnan(ends[7]));
}

TEST_CASE("simd: erf gives the same bits on every instruction set", "[unit]") {
    const std::vector<float> x = arguments();
    std::vector<float> baseline(x.size());
    erf_baseline(x, baseline);
    CHECK(test::same_bits(erf_of(x), baseline));
}
