#include "kernels/core/gradient.hpp"

#include <catch2/catch.hpp>

#include <cmath>
#include <limits>

#include "kernels/core/philox.hpp"
#include "tests/unit/kernels/numeric.hpp"

using namespace sy;

namespace {

constexpr RandomKey kKey{21, 0, 0, RandomPurpose::test};

/// One sum a column, in fixed point.
struct FixedSums {
    std::vector<std::int64_t> sums;
    std::uint8_t overflow = 0;

    explicit FixedSums(std::size_t count) : sums(count, 0) {}
    GradientView view() { return {nullptr, sums.data(), 1, static_cast<index_t>(sums.size()), &overflow}; }
};

/// addend * 2^46 rounded to nearest even. A long double has 64 bits: the product is exact.
std::int64_t rounded_units(float addend) {
    static_assert(std::numeric_limits<long double>::digits >= 64);
    return static_cast<std::int64_t>(std::nearbyint(static_cast<long double>(addend) * 0x1p46L));
}

/// Addends of every size below the limit, of both signs, ties of the rounding among them.
std::vector<float> addends_of_all_sizes() {
    std::vector<float> addends;
    for (std::uint64_t i = 0; i < 60000; ++i) {
        const auto words = philox(kKey, i);
        const float mantissa = 1.0F + static_cast<float>(words[0] >> 9) * 0x1p-23F;
        const float sign = (words[1] & 1U) == 0 ? 1.0F : -1.0F;
        addends.push_back(sign * std::ldexp(mantissa, static_cast<int>(words[2] % 85) - 75));
    }
    for (int odd = -2001; odd <= 2001; odd += 2) addends.push_back(std::ldexp(static_cast<float>(odd), -47));
    for (const float edge :
         {0x1p-46F, 0x1.8p-47F, 0x1p-47F, 0x1p-48F, 0x1p-149F, 0.0F, 0x1p-22F, 0x1.fffffep-23F, 0x1.fffffep9F,
          0x1.000002p9F, 0x1.000002p-23F, 0x1.fffffep-24F}) {
        addends.push_back(edge);
        addends.push_back(-edge);
    }
    return addends;
}

/// The elements of some rows.
GradientView rows_of(const GradientView& view, Range rows) {
    return host_gradient(GradientRef(view).rows_of(rows));
}

}  // namespace

TEST_CASE("gradient: an addend is rounded to nearest even in units of 2^-46", "[unit]") {
    const std::vector<float> addends = addends_of_all_sizes();
    FixedSums fixed(addends.size());
    accumulate(addends, 0, fixed.view());
    CHECK_FALSE(fixed.overflow);
    std::size_t num_ties = 0;
    for (std::size_t i = 0; i < addends.size(); ++i) {
        CAPTURE(i, addends[i]);
        REQUIRE(fixed.sums[i] == rounded_units(addends[i]));
        const long double units = std::fabs(static_cast<long double>(addends[i]) * 0x1p46L);
        if (units - std::floor(units) == 0.5L) ++num_ties;
    }
    CHECK(num_ties > 2000);
}

TEST_CASE("gradient: every length and start gives the same units as one long call", "[unit]") {
    const std::vector<float> addends = addends_of_all_sizes();
    const std::span<const float> all(addends);
    FixedSums whole(100);
    accumulate(all.first(100), 0, whole.view());
    for (std::size_t cut = 0; cut <= 100; ++cut) {
        FixedSums parts(100);
        accumulate(all.subspan(cut, 100 - cut), static_cast<index_t>(cut), parts.view());
        accumulate(all.first(cut), 0, parts.view());
        REQUIRE(parts.sums == whole.sums);
    }
}

TEST_CASE("gradient: fixed-point sums do not depend on order or grouping", "[unit]") {
    const std::vector<float> addends = addends_of_all_sizes();
    FixedSums forward(1);
    FixedSums backward(1);
    FixedSums grouped(3);
    for (std::size_t i = 0; i < addends.size(); ++i) {
        const float last = addends[addends.size() - 1 - i];
        accumulate({&addends[i], 1}, 0, forward.view());
        accumulate({&last, 1}, 0, backward.view());
        accumulate({&addends[i], 1}, static_cast<index_t>(i % 3), grouped.view());
    }
    CHECK(forward.sums[0] != 0);
    CHECK(forward.sums == backward.sums);
    CHECK(forward.sums[0] == grouped.sums[0] + grouped.sums[1] + grouped.sums[2]);
}

TEST_CASE("gradient: partial sums may leave the range if the whole does not", "[unit]") {
    FixedSums fixed(1);
    const float large = 1000.0F;
    const float opposite = -1000.0F;
    for (int i = 0; i < 200; ++i) accumulate({&large, 1}, 0, fixed.view());
    for (int i = 0; i < 199; ++i) accumulate({&opposite, 1}, 0, fixed.view());
    CHECK(fixed.sums[0] == rounded_units(1000.0F));
    CHECK_FALSE(fixed.overflow);
}

TEST_CASE("gradient: addends beyond the limit and non-finite ones add nothing and set the flag", "[unit]") {
    constexpr float kInfinity = std::numeric_limits<float>::infinity();
    const float bad = GENERATE(values<float>({kGradientLimit, -kGradientLimit, 1e30F, -3e38F, kInfinity,
                                              -kInfinity, std::numeric_limits<float>::quiet_NaN()}));
    for (std::size_t place = 0; place < 37; ++place) {
        CAPTURE(bad, place);
        std::vector<float> addends(37, 0.5F);
        addends[place] = bad;
        FixedSums fixed(37);
        accumulate(addends, 0, fixed.view());
        CHECK(fixed.overflow);
        for (std::size_t i = 0; i < 37; ++i) REQUIRE(fixed.sums[i] == (i == place ? 0 : rounded_units(0.5F)));
        // Never cleared.
        accumulate(std::vector<float>(37, 0.5F), 0, fixed.view());
        CHECK(fixed.overflow);
    }
    const float within = std::nextafter(kGradientLimit, 0.0F);
    FixedSums fixed(1);
    accumulate({&within, 1}, 0, fixed.view());
    CHECK_FALSE(fixed.overflow);
    CHECK(fixed.sums[0] == rounded_units(within));
}

TEST_CASE("gradient: no sum of as many addends as were announced wraps unseen", "[unit]") {
    for (const index_t num_addends : {1, 127, 128, 129, 200, 1000, 4097, 1 << 20}) {
        CAPTURE(num_addends);
        const float limit = gradient_limit(num_addends);
        CHECK(limit <= kGradientLimit);
        // No smaller than needed.
        CHECK((limit == kGradientLimit || limit * static_cast<float>(num_addends) > 0.99F * 0x1p17F));
        const float within = std::nextafter(limit, 0.0F);
        const std::vector<float> addends(11, within);
        FixedSums fixed(11);
        GradientView view = fixed.view();
        view.limit = limit;
        for (index_t i = 0; i < num_addends; ++i) accumulate(addends, 0, view);
        CHECK_FALSE(fixed.overflow);
        for (const std::int64_t sum : fixed.sums) CHECK(sum == num_addends * rounded_units(within));
        for (const float beyond : {limit, -limit, 2.0F * limit}) {
            for (index_t place = 0; place < 11; ++place) {
                fixed.overflow = 0;
                accumulate({&beyond, 1}, place, rows_of(view, {0, 1}));
                CHECK(fixed.overflow);
            }
        }
    }
    CHECK_THROWS_AS(gradient_limit(0), LogicError);
}

TEST_CASE("gradient: a sum becomes a float by one rounding", "[unit]") {
    std::vector<std::int64_t> sums{0, 1, -1, std::numeric_limits<std::int64_t>::max(),
                                   std::numeric_limits<std::int64_t>::min()};
    // Just above a tie of floats, which a rounding to double on the way would make a tie, and so go down.
    const std::int64_t above_tie = (std::int64_t{1} << 60) + (std::int64_t{1} << 36) + 1;
    sums.push_back(above_tie);
    sums.push_back(-above_tie);
    for (std::uint64_t i = 0; i < 20000; ++i) {
        const auto words = philox(kKey, i);
        const auto bits = (static_cast<std::uint64_t>(words[0]) << 32) | words[1];
        sums.push_back(static_cast<std::int64_t>(bits) >> (words[2] % 63));
    }
    std::vector<float> values(sums.size());
    from_fixed_point(sums, values);
    for (std::size_t i = 0; i < sums.size(); ++i) {
        REQUIRE(values[i] == static_cast<float>(static_cast<long double>(sums[i]) * 0x1p-46L));
    }
    CHECK(values[5] == 0x1p14F + 0x1p-9F);
}

TEST_CASE("gradient: float32 gradients are added to in place, and rows are where the view says", "[unit]") {
    std::vector<float> gradient(12, 1.0F);
    const GradientView view{gradient.data(), nullptr, 4, 3, nullptr};
    accumulate(std::vector<float>{0.25F, 0.5F}, 1, rows_of(view, {2, 4}));
    std::vector<float> wanted(12, 1.0F);
    wanted[7] = 1.25F;
    wanted[8] = 1.5F;
    CHECK(gradient == wanted);
    FixedSums fixed(12);
    const GradientView fixed_view{nullptr, fixed.sums.data(), 4, 3, &fixed.overflow};
    accumulate(std::vector<float>{1.0F}, 2, rows_of(fixed_view, {1, 2}));
    CHECK(fixed.sums[5] == std::int64_t{1} << 46);
}

TEST_CASE("gradient: elements outside and ambiguous representations are refused", "[unit]") {
    std::vector<float> values(3, 0.0F);
    FixedSums fixed(3);
    CHECK_THROWS_AS(accumulate(values, 1, fixed.view()), LogicError);
    CHECK_THROWS_AS(accumulate(values, -1, fixed.view()), LogicError);
    GradientView no_flag = fixed.view();
    no_flag.overflow = nullptr;
    CHECK_THROWS_AS(accumulate(values, 0, no_flag), LogicError);
    GradientView both = fixed.view();
    both.f32 = values.data();
    CHECK_THROWS_AS(accumulate(values, 0, both), LogicError);
    CHECK_THROWS_AS(from_fixed_point(fixed.sums, std::span<float>(values).first(2)), LogicError);
}
