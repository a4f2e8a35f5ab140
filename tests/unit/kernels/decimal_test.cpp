// Exact shares of counts, held to Python's fractions.Fraction of the same decimals.
#include "kernels/core/decimal.hpp"

#include <catch2/catch.hpp>
#include <limits>

using namespace sy;

namespace {

struct Case {
    double value;
    index_t count, divisor;
    index_t floor, round, ceil;  ///< Fraction(repr(value)) * count / divisor; at most 2^63 - 1
};

const Case kCases[] = {
    {1.6, 45, 4, 18, 18, 18},
    {1.1, 10, 1, 11, 11, 11},
    {1.1, 3000, 1, 3300, 3300, 3300},
    {0.07, 100, 1, 7, 7, 7},
    {0.58, 100, 1, 58, 58, 58},
    {0.15, 510, 1, 76, 77, 77},
    {0.1, 25, 1, 2, 3, 3},
    {0.29, 100, 1, 29, 29, 29},
    {1.25, 32768, 256, 160, 160, 160},
    {2.3, 100, 10, 23, 23, 23},
    {0.0, 7, 3, 0, 0, 0},
    {1.0, 0, 5, 0, 0, 0},
    {1e-300, 9223372036854775807, 1, 0, 0, 1},
    {5e-324, 1, 1, 0, 0, 1},
    {0.5, 1, 1, 0, 1, 1},
    {0.5, 9223372036854775807, 1, 4611686018427387903, 4611686018427387904, 4611686018427387904},
    {0.5, 3, 1, 1, 2, 2},
    {1000000.0, 9223372036854775807, 1, 9223372036854775807, 9223372036854775807, 9223372036854775807},
    {1e+300, 1, 7, 9223372036854775807, 9223372036854775807, 9223372036854775807},
    {1e+300, 0, 7, 0, 0, 0},
    {1000000.0, 123456789012, 97, 1272750402185567, 1272750402185567, 1272750402185568},
    {0.1, 9223372036854775807, 9223372036854775807, 0, 0, 1},
    {4.35, 100, 1, 435, 435, 435},
    {1.005, 1000, 1, 1005, 1005, 1005},
    {1.0000000000000002, 9223372036854775807, 1, 9223372036854775807, 9223372036854775807,
     9223372036854775807},
    {0.3333333333333333, 3, 1, 0, 1, 1},
    {0.6666666666666666, 9223372036854775807, 7, 878416384462359512, 878416384462359513, 878416384462359513},
    {123456.789, 1000000000000000, 1000000000, 123456789000, 123456789000, 123456789000},
    {1e+22, 7, 1000000000000000000, 70000, 70000, 70000},
    {9007199254740992.0, 1000, 1, 9007199254740992000, 9007199254740992000, 9007199254740992000},
    {2.492, 833821, 256, 8116, 8117, 8117},
    {0.12, 850, 4, 25, 26, 26},
    {0.45, 6239, 256, 10, 11, 11},
    {0.4, 4, 60, 0, 0, 1},
    {1.12, 781, 1, 874, 875, 875},
    {0.555, 17005284, 4, 2359483, 2359483, 2359484},
    {0.0, 3531, 4, 0, 0, 0},
    {3.49, 208551, 256, 2843, 2843, 2844},
    {3.504, 2977, 4, 2607, 2608, 2608},
    {3.87, 2828, 7, 1563, 1563, 1564},
};

}  // namespace

TEST_CASE("decimal: shares of counts are those of exact fractions", "[unit]") {
    for (const Case& one : kCases) {
        INFO(one.value << " * " << one.count << " / " << one.divisor);
        CHECK(decimal_floor(one.value, one.count, one.divisor) == one.floor);
        CHECK(decimal_round(one.value, one.count, one.divisor) == one.round);
        CHECK(decimal_ceil(one.value, one.count, one.divisor) == one.ceil);
        // What is beyond the largest index is not looked at more closely.
        if (one.ceil != std::numeric_limits<index_t>::max())
            CHECK(decimal_is_whole(one.value, one.count, one.divisor) == (one.floor == one.ceil));
    }
}

TEST_CASE("decimal: 45 choices over 4 experts at 1.6 are 18 slots, where floating point says 19", "[unit]") {
    CHECK(decimal_ceil(1.6, 45, 4) == 18);
}

TEST_CASE("decimal: what is no share of a count is refused", "[unit]") {
    CHECK_THROWS_AS(decimal_ceil(-0.5, 3), LogicError);
    CHECK_THROWS_AS(decimal_ceil(std::numeric_limits<double>::infinity(), 3), LogicError);
    CHECK_THROWS_AS(decimal_ceil(std::numeric_limits<double>::quiet_NaN(), 3), LogicError);
    CHECK_THROWS_AS(decimal_ceil(0.5, -3), LogicError);
    CHECK_THROWS_AS(decimal_ceil(0.5, 3, 0), LogicError);
}
