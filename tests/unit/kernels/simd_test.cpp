#include "kernels/core/simd.hpp"

#include <catch2/catch.hpp>

#include <cmath>
#include <limits>
#include <vector>

#include "kernels/core/philox.hpp"
#include "tests/unit/kernels/numeric.hpp"

using namespace sy;

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
const float kNan = std::numeric_limits<float>::quiet_NaN();

SY_INLINE void exp_loop(const std::vector<float>& x, std::vector<float>& y) {
    const auto count = static_cast<index_t>(x.size());
    simd::for_lanes(count, [&](index_t i, auto load, auto store)
                               SY_BODY { store(y.data() + i, simd::exp(load(x.data() + i))); });
}
void exp_chosen(const std::vector<float>& x, std::vector<float>& y) {
    simd::for_isa([=, &x, &y]() SY_BODY { exp_loop(x, y); });
}
void exp_baseline(const std::vector<float>& x, std::vector<float>& y) {
    exp_loop(x, y);
}
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define SY_HAS_AVX2_BODY 1
__attribute__((target("arch=x86-64-v3"))) void exp_avx2(const std::vector<float>& x, std::vector<float>& y) {
    exp_loop(x, y);
}
#endif

float exp_of(float x) {
    const std::vector<float> in{x};
    std::vector<float> out{-1.0F};
    exp_chosen(in, out);
    return out[0];
}

/// Floats of both signs from 2^-31 up to where e^x leaves the normal numbers, by steps of a prime in the bits.
std::vector<float> exponents() {
    std::vector<float> x;
    for (std::uint32_t bits = 0x30000000U; bits < 0x42b20000U; bits += 1009) {
        const float value = std::bit_cast<float>(bits);
        if (value < 88.7228F) x.push_back(value);
        if (value < 86.98F) x.push_back(-value);
    }
    return x;
}

/// Random bit patterns: every exponent, infinities and NaN among them.
std::vector<float> any_floats(std::uint64_t count) {
    std::vector<float> values;
    for (std::uint64_t i = 0; i < count; ++i)
        values.push_back(std::bit_cast<float>(philox({11, 0, 0, RandomPurpose::test}, i)[0]));
    for (const std::uint32_t special :
         {0U, 0x80000000U, 0x7f800000U, 0xff800000U, 0x7fc00000U, 0xffc00000U, 0x7f800001U, 0x7f7fffffU,
          0x00008000U, 0x00018000U, 0x3f808000U, 0x3f818000U, 0x3f808001U, 0xffffffffU, 0x7fffffffU})
        values.push_back(std::bit_cast<float>(special));
    return values;
}

}  // namespace

TEST_CASE("simd: exp is within one unit in the last place over its range", "[unit]") {
    const std::vector<float> x = exponents();
    REQUIRE(x.size() > 500000);
    std::vector<float> y(x.size());
    exp_chosen(x, y);
    double worst = 0.0;
    for (std::size_t i = 0; i < x.size(); ++i) {
        const double wanted = std::exp(static_cast<double>(x[i]));
        int exponent = 0;
        std::frexp(wanted, &exponent);
        worst =
            std::max(worst, std::fabs(static_cast<double>(y[i]) - wanted) / std::ldexp(1.0, exponent - 24));
    }
    CHECK(worst < 1.0);
}

TEST_CASE("simd: exp at its ends, at 0 and of NaN", "[unit]") {
    CHECK(exp_of(0.0F) == 1.0F);
    CHECK(exp_of(-0.0F) == 1.0F);
    CHECK(exp_of(-kInfinity) == 0.0F);
    CHECK(exp_of(-std::numeric_limits<float>::max()) == 0.0F);
    CHECK(exp_of(-87.4F) == 0.0F);
    CHECK(exp_of(-86.98F) * 0x1p100F ==
          Approx(std::exp(static_cast<double>(-86.98F)) * 0x1p100).epsilon(1e-6));
    CHECK(exp_of(88.7228F) == Approx(std::exp(static_cast<double>(88.7228F))).epsilon(1e-6));
    CHECK(exp_of(88.7229F) == kInfinity);
    CHECK(exp_of(89.5F) == kInfinity);
    CHECK(exp_of(std::numeric_limits<float>::max()) == kInfinity);
    CHECK(exp_of(kInfinity) == kInfinity);
    CHECK(std::isnan(exp_of(kNan)));
    CHECK(std::isnan(exp_of(-kNan)));
    CHECK(std::isnan(exp_of(std::bit_cast<float>(0x7fc001ffU))));
}

TEST_CASE("simd: every instruction set gives the same bits", "[unit]") {
    std::vector<float> x = exponents();
    x.resize(20011);
    for (std::size_t i = 0; i < x.size(); i += 3) x[i] *= 1e6F;
    std::vector<float> baseline(x.size());
    std::vector<float> chosen(x.size());
    exp_baseline(x, baseline);
    exp_chosen(x, chosen);
    CHECK(test::same_bits(chosen, baseline));
#ifdef SY_HAS_AVX2_BODY
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        std::vector<float> avx2(x.size());
        exp_avx2(x, avx2);
        CHECK(test::same_bits(avx2, baseline));
    }
#endif
}

TEST_CASE("simd: sigmoid agrees with its definition and saturates", "[unit]") {
    for (const float x : {-100.0F, -20.0F, -1.5F, 0.0F, 0.25F, 7.0F, 40.0F}) {
        const double wanted = 1.0 / (1.0 + std::exp(-static_cast<double>(x)));
        const float got = simd::sigmoid(simd::splat(x))[3];
        CHECK(static_cast<double>(got) == Approx(wanted).epsilon(3e-7).margin(1e-37));
    }
    CHECK(simd::sigmoid(simd::splat(-kInfinity))[0] == 0.0F);
    CHECK(simd::sigmoid(simd::splat(kInfinity))[0] == 1.0F);
}

TEST_CASE("simd: the sum of lanes is the documented tree", "[unit]") {
    simd::f32x16 value{};
    for (std::uint32_t lane = 0; lane < 16; ++lane)
        value[lane] = normal({3, 0, 0, RandomPurpose::test}, lane) * std::ldexp(1.0F, static_cast<int>(lane));
    float tree[16];
    for (std::uint32_t lane = 0; lane < 16; ++lane) tree[lane] = value[lane];
    for (int width = 8; width >= 1; width /= 2)
        for (int lane = 0; lane < width; ++lane) tree[lane] += tree[lane + width];
    CHECK(simd::sum(value) == tree[0]);
    float serial = 0.0F;
    for (std::uint32_t lane = 0; lane < 16; ++lane) serial += value[lane];
    CHECK(simd::sum(value) != serial);
}

TEST_CASE("simd: max finds the largest lane wherever it is, and lets NaN in its second operand through",
          "[unit]") {
    for (std::uint32_t place = 0; place < 16; ++place) {
        simd::f32x16 value = simd::splat(-2.0F);
        value[place] = -1.0F;
        CHECK(simd::max_lane(value) == -1.0F);
    }
    CHECK(simd::max(simd::splat(1.0F), simd::splat(2.0F))[5] == 2.0F);
    CHECK(simd::min(simd::splat(1.0F), simd::splat(2.0F))[5] == 1.0F);
    CHECK(std::isnan(simd::max(simd::splat(1.0F), simd::splat(kNan))[0]));
    CHECK(std::isnan(simd::min(simd::splat(1.0F), simd::splat(kNan))[0]));
    CHECK(simd::max(simd::splat(kNan), simd::splat(1.0F))[0] == 1.0F);
}

TEST_CASE("simd: fma rounds once", "[unit]") {
    const float a = 1.0F + 0x1p-12F;
    // a * a = 1 + 2^-11 + 2^-24: the last term is lost when the product is rounded first.
    CHECK(simd::fma(simd::splat(a), simd::splat(a), simd::splat(-1.0F - 0x1p-11F))[9] == 0x1p-24F);
}

TEST_CASE("simd: partial loads and stores touch the counted elements only", "[unit]") {
    for (index_t count = 0; count < 16; ++count) {
        // The vector ends with the last element, so that a sanitizer sees a read beyond it.
        std::vector<float> source;
        for (index_t i = 0; i < count; ++i) source.push_back(static_cast<float>(i) + 1.0F);
        std::vector<bf16> halves;
        for (const float value : source) halves.emplace_back(value);
        const simd::f32x16 full = simd::load_part(source.data(), count, -7.0F);
        const simd::f32x16 half = simd::load_part(halves.data(), count);
        std::vector<float> target(20, 99.0F);
        std::vector<bf16> half_target(20, bf16(99.0F));
        simd::store_part(target.data(), full, count);
        simd::store_part(half_target.data(), half, count);
        for (index_t i = 0; i < 20; ++i) {
            const auto at = static_cast<std::size_t>(i);
            const float wanted = i < count ? source[at] : 99.0F;
            CHECK(target[at] == wanted);
            CHECK(half_target[at] == bf16(wanted));
            if (i < 16) CHECK(full[static_cast<std::uint32_t>(i)] == (i < count ? wanted : -7.0F));
            if (i < 16) CHECK(half[static_cast<std::uint32_t>(i)] == (i < count ? wanted : 0.0F));
        }
    }
}

TEST_CASE("simd: bf16 stores round as the scalar conversion, for any bits", "[unit]") {
    const std::vector<float> values = any_floats(100000);
    std::size_t num_nan = 0;
    for (std::size_t i = 0; i + 16 <= values.size(); i += 16) {
        bf16 stored[16];
        simd::store(stored, simd::load(values.data() + i));
        const simd::f32x16 back = simd::load(stored);
        for (std::size_t lane = 0; lane < 16; ++lane) {
            const float value = values[i + lane];
            if (std::isnan(value)) ++num_nan;
            REQUIRE(stored[lane] == bf16(value));
            REQUIRE(std::bit_cast<std::uint32_t>(static_cast<float>(stored[lane])) ==
                    std::bit_cast<std::uint32_t>(float{back[lane]}));
            REQUIRE(std::isnan(value) == std::isnan(static_cast<float>(stored[lane])));
        }
    }
    CHECK(num_nan > 100);
    CHECK(static_cast<float>(bf16(1.0F + 0x1p-8F)) == 1.0F);
    CHECK(static_cast<float>(bf16(1.0F + 0x1.8p-7F)) == 1.0F + 0x1p-6F);
}

TEST_CASE("simd: for_lanes visits every element once", "[unit]") {
    for (index_t count = 0; count < 50; ++count) {
        std::vector<float> visits(static_cast<std::size_t>(count), 0.0F);
        simd::for_lanes(count, [&](index_t i, auto load, auto store) {
            store(visits.data() + i, load(visits.data() + i) + 1.0F);
        });
        CHECK(visits == std::vector<float>(static_cast<std::size_t>(count), 1.0F));
    }
}
