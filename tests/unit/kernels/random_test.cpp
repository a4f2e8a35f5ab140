#include "kernels/ops/random/random.hpp"

#include <catch2/catch.hpp>

#include <array>

#include "tests/unit/kernels/numeric.hpp"

using namespace sy;
using test::TestMatrix;
using test::TestSession;

namespace {

using Words = std::array<std::uint32_t, 4>;

constexpr RandomKey kKey{77, 5, 3, RandomPurpose::initialise};

std::vector<float> normals(const RandomKey& key, index_t first, std::size_t count, int threads = 1) {
    TestSession session(threads);
    std::vector<float> values(count);
    ops::fill_normal(key, first, 1.0F, host_operand(std::span(values)), session.context);
    return values;
}

}  // namespace

TEST_CASE("philox: the published answers of Philox4x32-10", "[unit]") {
    // kat_vectors of Random123, reached by choosing the fields of the key that make their counter and key.
    CHECK(philox({0, 0, 0, RandomPurpose{0}}, 0) ==
          Words{0x6627e8d5U, 0xe169c58dU, 0xbc57ac4cU, 0x9b00dbd8U});
    CHECK(philox({~0ULL, 0xffffffffffULL, 0xffffU, RandomPurpose{0xffU}}, ~0ULL) ==
          Words{0x408f276dU, 0x41c83b0eU, 0xa20bc7c6U, 0x6d5451fdU});
    CHECK(philox({0x299f31d0a4093822ULL, 0x0313198a2eULL, 0x7073U, RandomPurpose{0x44U}},
                 0x85a308d3243f6a88ULL) == Words{0xd16cfe09U, 0x94fdccebU, 0x5001e420U, 0x24126ea1U});
}

TEST_CASE("philox: every field of the key and the counter change the words", "[unit]") {
    const Words words = philox(kKey, 9);
    RandomKey other = kKey;
    other.seed += 1ULL << 40;
    CHECK(philox(other, 9) != words);
    other = kKey;
    other.step += 1ULL << 33;
    CHECK(philox(other, 9) != words);
    other = kKey;
    other.layer = 4;
    CHECK(philox(other, 9) != words);
    other = kKey;
    other.purpose = RandomPurpose::dropout;
    CHECK(philox(other, 9) != words);
    CHECK(philox(kKey, 9 + (1ULL << 32)) != words);
    CHECK(philox(kKey, 9) == words);
}

TEST_CASE("philox: uniform numbers lie inside (0, 1) and fill it evenly", "[unit]") {
    CHECK(uniform_from(0) > 0.0F);
    CHECK(uniform_from(0xffffffffU) < 1.0F);
    constexpr std::size_t kCells = 64;
    constexpr std::uint64_t kCount = 200000;
    std::array<int, kCells> cells{};
    for (std::uint64_t i = 0; i < kCount; ++i)
        ++cells[static_cast<std::size_t>(uniform(kKey, i) * static_cast<float>(kCells))];
    // Chi-square of 63 degrees of freedom: beyond 120 with probability 2e-5.
    double chi_square = 0.0;
    const double expected = static_cast<double>(kCount) / kCells;
    for (const int cell : cells) chi_square += (cell - expected) * (cell - expected) / expected;
    CHECK(chi_square < 120.0);
    CHECK(chi_square > 25.0);
}

TEST_CASE("random: normal numbers have the moments and tails of the normal distribution", "[unit]") {
    constexpr std::size_t kCount = 200000;
    const std::vector<float> values = normals(kKey, 0, kCount, 2);
    double moments[5] = {};
    double neighbours = 0.0;
    int beyond_two = 0;
    for (std::size_t i = 0; i < kCount; ++i) {
        const double value = static_cast<double>(values[i]);
        double power = 1.0;
        for (double& moment : moments) {
            moment += power / kCount;
            power *= value;
        }
        if (i > 0) neighbours += value * static_cast<double>(values[i - 1]) / kCount;
        if (std::fabs(value) > 2.0) ++beyond_two;
    }
    // Five standard errors each.
    CHECK(moments[1] == Approx(0.0).margin(5.0 / std::sqrt(kCount)));
    CHECK(moments[2] == Approx(1.0).margin(5.0 * std::sqrt(2.0 / kCount)));
    CHECK(moments[3] == Approx(0.0).margin(5.0 * std::sqrt(15.0 / kCount)));
    CHECK(moments[4] == Approx(3.0).margin(5.0 * std::sqrt(96.0 / kCount)));
    CHECK(neighbours == Approx(0.0).margin(5.0 / std::sqrt(kCount)));
    CHECK(beyond_two / static_cast<double>(kCount) ==
          Approx(0.0455).margin(5.0 * std::sqrt(0.0455 / kCount)));
}

TEST_CASE("random: a fill is the scalar generator, element by element, wherever it starts", "[unit]") {
    const index_t first =
        GENERATE(index_t{0}, index_t{1}, index_t{31}, (index_t{1} << 33) - 7, index_t{1} << 50);
    const std::size_t count = GENERATE(0UL, 1UL, 33UL, 500UL);
    const std::vector<float> values = normals(kKey, first, count);
    for (std::size_t i = 0; i < count; ++i)
        REQUIRE(values[i] == normal(kKey, static_cast<std::uint64_t>(first) + i));
}

TEST_CASE("random: fills do not depend on threads, cuts or order, and scale with the deviation", "[unit]") {
    const std::vector<float> whole = normals(kKey, 1000, 5000);
    CHECK(test::same_bits(normals(kKey, 1000, 5000, 3), whole));
    std::vector<float> parts = normals(kKey, 1000 + 37, 5000 - 37);
    const std::vector<float> head = normals(kKey, 1000, 37);
    parts.insert(parts.begin(), head.begin(), head.end());
    CHECK(test::same_bits(parts, whole));
    TestSession session;
    std::vector<float> wide(5000);
    ops::fill_normal(kKey, 1000, 0.25F, host_operand(std::span(wide)), session.context);
    for (std::size_t i = 0; i < 5000; ++i) REQUIRE(wide[i] == 0.25F * whole[i]);
    CHECK_THROWS_AS(ops::fill_normal(kKey, -1, 1.0F, host_operand(std::span(wide)), session.context),
                    ShapeError);
}

TEST_CASE("random: a Gumbel fill is -log(-log u) of the scalar generator, wherever it starts", "[unit]") {
    const index_t first = GENERATE(index_t{0}, index_t{3}, (index_t{1} << 33) - 7);
    const int threads = GENERATE(1, 3);
    TestSession session(threads);
    std::vector<float> values(2500);
    ops::fill_gumbel(kKey, first, 0.5F, host_operand(std::span(values)), session.context);
    double mean = 0.0;
    for (std::size_t i = 0; i < values.size(); ++i) {
        const double u = static_cast<double>(uniform(kKey, static_cast<std::uint64_t>(first) + i));
        REQUIRE(values[i] == 0.5F * static_cast<float>(-std::log(-std::log(u))));
        mean += static_cast<double>(values[i]) / 2500.0;
    }
    // Euler's constant times the scale, within five standard errors.
    CHECK(mean == Approx(0.5 * 0.5772).margin(5.0 * 0.5 * 1.2825 / 50.0));
    CHECK_THROWS_AS(ops::fill_gumbel(kKey, -1, 1.0F, host_operand(std::span(values)), session.context),
                    ShapeError);
}

TEST_CASE("random: jitter multiplies by the uniform number of the global token and column", "[unit]") {
    const index_t cols = GENERATE(1, 3, 64, 77, 512);
    const index_t first_token = GENERATE(0, 1, 123456789);
    const int threads = GENERATE(1, 3);
    TestSession session(threads);
    const TestMatrix x(19, cols, 1);
    TestMatrix y(19, cols);
    ops::jitter(x.view(), kKey, first_token, 0.125F, y.view(), session.context);
    for (index_t t = 0; t < 19; ++t) {
        for (index_t i = 0; i < cols; ++i) {
            const float u = uniform(kKey, static_cast<std::uint64_t>((first_token + t) * cols + i));
            REQUIRE(y.view()(t, i) == x.view()(t, i) * (1.0F + 0.125F * (2.0F * u - 1.0F)));
        }
    }
}

TEST_CASE("random: jitter stays within eps, uses both signs, and does not depend on how tokens are dealt out",
          "[unit]") {
    TestSession session(2);
    TestMatrix ones(30, 50);
    std::fill(ones.values.begin(), ones.values.end(), 1.0F);
    TestMatrix whole(30, 50);
    ops::jitter(ones.view(), kKey, 100, 0.01F, whole.view(), session.context);
    const auto [lowest, highest] = std::minmax_element(whole.values.begin(), whole.values.end());
    CHECK((*lowest >= 0.99F && *lowest < 0.9902F));
    CHECK((*highest <= 1.01F && *highest > 1.0098F));
    TestMatrix in_place = ones;
    const MatrixView<float> last = in_place.view().rows_of({11, 30});
    const MatrixView<float> first = in_place.view().rows_of({0, 11});
    ops::jitter(last, kKey, 111, 0.01F, last, session.context);
    ops::jitter(first, kKey, 100, 0.01F, first, session.context);
    CHECK(test::same_bits(in_place.values, whole.values));
    CHECK_THROWS_AS(ops::jitter(ones.view(), kKey, 0, 0.01F, first, session.context), ShapeError);
    CHECK_THROWS_AS(ops::jitter(ones.view(), kKey, -1, 0.01F, whole.view(), session.context), ShapeError);
}
