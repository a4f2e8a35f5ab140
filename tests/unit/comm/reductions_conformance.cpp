// What reductions and scans promise about values that a library may treat in its own way: integers that wrap around, NaN,
// negative zeros, and the sizes at which another algorithm takes over.
#include <cmath>
#include <cstring>
#include <limits>

#include "comm/collectives.hpp"
#include "tests/unit/comm/conformance.hpp"

namespace sy::test {
namespace {

using namespace sy::comm;

template <class T>
constexpr T kLowest = std::numeric_limits<T>::lowest();
template <class T>
constexpr T kHighest = std::numeric_limits<T>::max();

template <class T>
void require_reduced(Communicator& world, T mine, ReduceOp op, T expected, std::string_view what) {
    all_reduce(world, std::span<T>(&mine, 1), op);
    require_equal<T>({&mine, 1}, {&expected, 1}, what);
}

/// Also -0.0 and 0.0 differ, and NaN is NaN.
template <class T>
void require_float(T found, T expected, std::string_view what) {
    SY_REQUIRE(std::isnan(expected) ? std::isnan(found)
                                    : found == expected && std::signbit(found) == std::signbit(expected),
               what, ": ", found, " instead of ", expected);
}

template <class T>
void check_integers(Communicator& world) {
    const bool is_even = world.size() % 2 == 0;
    // The highest power of two is its own negative: two of them are 0.
    const T half = static_cast<T>(std::uint64_t{1} << (8 * sizeof(T) - 1));
    require_reduced<T>(world, half, ReduceOp::sum, is_even ? T{0} : half, "sum that leaves the range");
    T scanned = half;
    const std::vector<T> totals = exscan(world, std::span<T>(&scanned, 1));
    SY_REQUIRE(scanned == (world.rank() % 2 == 0 ? T{0} : half) && totals.at(0) == (is_even ? T{0} : half),
               "sums of lower ranks that leave the range: ", scanned, " of ", totals.at(0));
    const bool is_last = world.rank() == world.size() - 1;
    const bool is_alone = world.size() == 1;
    require_reduced<T>(world, is_last ? kHighest<T> : kLowest<T>, ReduceOp::max, kHighest<T>,
                       "maximum of extremes");
    require_reduced<T>(world, is_last ? kLowest<T> : kHighest<T>, ReduceOp::min, kLowest<T>,
                       "minimum of extremes");
    // Unsigned numbers from 2^63 on are above all others, signed ones with that bit below.
    require_reduced<T>(world, is_last ? half : T{1}, ReduceOp::max,
                       std::is_signed_v<T> && !is_alone ? T{1} : half, "maximum with the highest bit");
}

void integers_wrap_around(Communicator& world) {
    check_integers<std::int32_t>(world);
    check_integers<std::int64_t>(world);
    check_integers<std::uint64_t>(world);
}

/// `count` values, of which one in the middle is what is looked at; the others are all 1.
template <class T>
T reduced_among(Communicator& world, index_t count, T mine, ReduceOp op) {
    std::vector<T> values(static_cast<std::size_t>(count), T{1});
    T& middle = values[values.size() / 2];
    middle = mine;
    all_reduce(world, std::span<T>(values), op);
    return middle;
}

template <class T>
void check_floats(Communicator& world) {
    constexpr T kNan = std::numeric_limits<T>::quiet_NaN();
    const bool is_first = world.rank() == 0;
    // Short ones and long ones take different ways.
    for (const index_t count : {index_t{1}, index_t{9000}}) {
        for (const ReduceOp op : {ReduceOp::max, ReduceOp::min}) {
            require_float(reduced_among<T>(world, count, is_first ? kNan : T{2}, op), kNan, "NaN of rank 0");
            require_float(reduced_among<T>(world, count, is_first ? T{2} : kNan, op), T{2},
                          "NaN of other ranks");
            require_float(reduced_among<T>(world, count, is_first ? T{0} : -T{0}, op), T{0}, "0 of rank 0");
            require_float(reduced_among<T>(world, count, is_first ? -T{0} : T{0}, op), -T{0}, "-0 of rank 0");
        }
        require_float(reduced_among<T>(world, count, is_first ? T{2} : kNan, ReduceOp::sum),
                      world.size() == 1 ? T{2} : kNan, "sum with NaN");
        require_float(reduced_among<T>(world, count, -T{0}, ReduceOp::sum), -T{0}, "sum of negative zeros");
    }
    T scanned = -T{0};
    const std::vector<T> totals = exscan(world, std::span<T>(&scanned, 1));
    require_float(scanned, is_first ? T{0} : -T{0}, "sum of the negative zeros of lower ranks");
    require_float(totals.at(0), -T{0}, "sum of all negative zeros");
}

void floats_keep_nan_and_zeros(Communicator& world) {
    check_floats<float>(world);
    check_floats<double>(world);
}

/// Around each of the sizes of comm/collectives.cpp, in values of 8 bytes; gathers divide by the number of ranks.
void sizes_where_algorithms_change(Communicator& world) {
    for (const index_t bytes : {2048, 8192, 16384}) {
        for (const index_t count : {bytes / 8 - 1, bytes / 8, bytes / 8 + 1, bytes / 8 / world.size() + 1}) {
            std::vector<std::int64_t> values;
            for (index_t i = 0; i < count; ++i) values.push_back((world.rank() + 1) * (i + 1));
            const std::int64_t ranks = world.size();
            const auto all = all_gather(world, std::span<const std::int64_t>(values));
            for (index_t i = 0; i < ranks * count; ++i) {
                SY_REQUIRE(all[static_cast<std::size_t>(i)] == (i / count + 1) * (i % count + 1), "gathered ",
                           i, " of ", count, " a rank");
            }
            std::vector<std::int64_t> sums = values;
            all_reduce(world, std::span<std::int64_t>(sums));
            const auto totals = exscan(world, std::span<std::int64_t>(values));
            SY_REQUIRE(totals == sums, "totals of a scan of ", count, " are not the sums");
            for (index_t i = 0; i < count; ++i) {
                const auto idx = static_cast<std::size_t>(i);
                SY_REQUIRE(sums[idx] == ranks * (ranks + 1) / 2 * (i + 1), "sum ", i, " of ", count);
                SY_REQUIRE(values[idx] == world.rank() * (world.rank() + 1) / 2 * (i + 1), "scanned ", i,
                           " of ", count);
            }
        }
    }
}

constexpr ConformanceCase kCases[] = {
    {"reductions: sums and scans of integers wrap around, extremes know signs", integers_wrap_around},
    {"reductions: NaN and negative zeros of floats are those of the ascending order",
     floats_keep_nan_and_zeros},
    {"reductions: the same at all sizes at which another algorithm takes over",
     sizes_where_algorithms_change},
};

}  // namespace

std::span<const ConformanceCase> reductions_cases() {
    return kCases;
}

}  // namespace sy::test
