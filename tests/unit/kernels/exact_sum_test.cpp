#include "kernels/core/exact_sum.hpp"

#include <catch2/catch.hpp>

#include <algorithm>
#include <limits>

#include "kernels/core/error.hpp"
#include "kernels/core/philox.hpp"
#include "kernels/core/types.hpp"

using namespace sy;

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

ExactSum sum_of(std::span<const double> addends) {
    ExactSum sum;
    for (const double addend : addends) sum.add(addend);
    return sum;
}
ExactSum sum_of(std::initializer_list<double> addends) {
    return sum_of(std::span(addends.begin(), addends.size()));
}

/// What ranks with these sums receive.
ExactSum over_ranks(std::span<const ExactSum> ranks) {
    std::vector<std::int64_t> total;
    for (const ExactSum& rank : ranks) {
        const std::vector<std::int64_t> words = ExactSum::to_words({&rank, 1});
        total.resize(words.size(), 0);
        for (std::size_t word = 0; word < words.size(); ++word) total[word] += words[word];
    }
    ExactSum sum;
    ExactSum::from_words(total, {&sum, 1});
    return sum;
}

/// Numbers of both signs, from far below a unit to 2^60.
std::vector<double> numbers_of_all_sizes() {
    std::vector<double> numbers;
    for (std::uint64_t i = 0; i < 20000; ++i) {
        const auto words = philox({22, 0, 0, RandomPurpose::test}, i);
        const double mantissa = 1.0 + static_cast<double>(words[0]) * 0x1p-32;
        const double sign = (words[1] & 1U) == 0 ? 1.0 : -1.0;
        numbers.push_back(sign * std::ldexp(mantissa, static_cast<int>(words[2] % 105) - 45));
    }
    return numbers;
}

}  // namespace

TEST_CASE("exact_sum: the sum does not depend on order or grouping, and is that of 128-bit integers",
          "[unit]") {
    std::vector<double> numbers = numbers_of_all_sizes();
    __extension__ using Wide = __int128;
    Wide expected = 0;
    for (const double number : numbers)
        expected += static_cast<Wide>(std::nearbyint(static_cast<long double>(number) * 0x1p36L));
    const ExactSum forward = sum_of(numbers);
    CHECK(forward.finite());
    CHECK(forward.value() ==
          Approx(static_cast<double>(static_cast<long double>(expected) * 0x1p-36L)).epsilon(1e-15));
    std::ranges::reverse(numbers);
    CHECK(sum_of(numbers) == forward);
    for (const std::size_t num_ranks : {1U, 2U, 3U, 7U}) {
        std::vector<ExactSum> ranks(num_ranks);
        for (std::size_t i = 0; i < numbers.size(); ++i) ranks[i * i % num_ranks].add(numbers[i]);
        ExactSum merged;
        for (const ExactSum& rank : ranks) merged += rank;
        CHECK(merged == forward);
        CHECK(over_ranks(ranks) == forward);
    }
    numbers[17] += 0x1p-30;
    CHECK_FALSE(sum_of(numbers) == forward);
}

TEST_CASE("exact_sum: addends are rounded to even multiples of 2^-36", "[unit]") {
    CHECK(ExactSum().value() == 0.0);
    CHECK(sum_of({0.0, -0.0}).value() == 0.0);
    CHECK(sum_of({0x1p-36}).value() == 0x1p-36);
    CHECK(sum_of({-0x1p-36}).value() == -0x1p-36);
    CHECK(sum_of({0x1p-37, 0x1p-37}).value() == 0.0);
    CHECK(sum_of({0x1.8p-36}).value() == 0x1p-35);
    CHECK(sum_of({0x1p20, 0x1p-36}) == sum_of({0x1p-36, 0x1p20}));
    CHECK(sum_of({0x1p63, -1.5, -0x1p63}).value() == -1.5);
    // On both sides of where the quick path ends.
    for (const double size : {0x1.fffffffffffffp14, 0x1p15, 0x1.0000000000001p15}) {
        CHECK(sum_of({size}).value() == std::nearbyint(size * 0x1p36) * 0x1p-36);
        CHECK(sum_of({-size, size}).value() == 0.0);
    }
    ExactSum units;
    units.add_units(std::int64_t{3} << 36);
    CHECK(units == sum_of({3.0}));
}

TEST_CASE("exact_sum: numbers that wrap 64 bits do not wrap it", "[unit]") {
    // Losses of ln 2^16 over 12 million tokens, which pass 2^27, and squares of 120 over as many.
    const double loss = static_cast<double>(static_cast<float>(16.0 * std::log(2.0)));
    ExactSum losses;
    ExactSum squares;
    constexpr index_t kTokens = 12'300'000;
    for (index_t t = 0; t < kTokens; ++t) {
        losses.add(loss);
        squares.add(120.0 * 120.0);
    }
    CHECK(losses.value() / static_cast<double>(kTokens) == Approx(loss).epsilon(1e-9));
    CHECK(squares.value() == 14400.0 * static_cast<double>(kTokens));
    std::vector<ExactSum> ranks(4096, sum_of({-0x1.8p63}));
    CHECK(over_ranks(ranks).value() == -0x1.8p75);
    ExactSum doubled = sum_of({0x1.8p63});
    for (int doubling = 0; doubling < 30; ++doubling) doubled += ExactSum(doubled);
    CHECK(doubled.value() == 0x1.8p93);
}

TEST_CASE("exact_sum: what is not finite shows in every sum, however many there are", "[unit]") {
    CHECK(std::isnan(sum_of({1.0, kNan}).value()));
    CHECK(std::isnan(sum_of({kNan, kNan}).value()));
    CHECK(std::isnan(sum_of({kInfinity, -kInfinity}).value()));
    CHECK(std::isnan(sum_of({kNan, kInfinity}).value()));
    CHECK(sum_of({kInfinity, -5.0, kInfinity}).value() == kInfinity);
    CHECK(sum_of({-kInfinity, 5.0}).value() == -kInfinity);
    CHECK(sum_of({0x1p64}).value() == kInfinity);
    CHECK(sum_of({-1e300}).value() == -kInfinity);
    CHECK_FALSE(sum_of({-1e300}).finite());
    CHECK(sum_of({std::numeric_limits<double>::denorm_min()}).finite());
    // As many as would fill the bits of another flag, were they counted.
    for (const std::size_t num_ranks : {1U, 2U, 4096U, 1U << 20U}) {
        CHECK(over_ranks(std::vector<ExactSum>(num_ranks, sum_of({kInfinity, kInfinity}))).value() ==
              kInfinity);
        CHECK(std::isnan(over_ranks(std::vector<ExactSum>(num_ranks, sum_of({kNan, kNan, kNan}))).value()));
    }
    const std::vector<ExactSum> mixed{sum_of({1.0}), sum_of({-kInfinity}), sum_of({-kInfinity})};
    CHECK(over_ranks(mixed).value() == -kInfinity);
    CHECK(over_ranks(mixed) == sum_of({-kInfinity, 1.0}));
    ExactSum merged = sum_of({2.0});
    merged += sum_of({kNan});
    merged += sum_of({kNan});
    CHECK(std::isnan(merged.value()));
    ExactSum one;
    CHECK_THROWS_AS(ExactSum::from_words(std::vector<std::int64_t>(5, 0), {&one, 1}), LogicError);
}
