#include <algorithm>
#include <cmath>
#include <limits>

#include "comm/collectives.hpp"

namespace sy::comm {
namespace {

/// A sum of doubles that are multiples of 2^(exponent - 78) after rounding, as an integer in base 2^39: lowest digit last.
/// Digits below the first are in [0, 2^39) once carried, so equal sums have equal digits.
struct FixedPointSum {
    static constexpr int kDigitBits = 39;
    std::int64_t digits[3] = {0, 0, 0};

    void carry() {
        for (int digit = 2; digit > 0; --digit) {
            const std::int64_t over = digits[digit] >> kDigitBits;  // rounds down, also below zero
            digits[digit - 1] += over;
            digits[digit] -= over * (std::int64_t{1} << kDigitBits);
        }
    }
};

}  // namespace

double reproducible_sum(Communicator& comm, std::span<const double> addends) {
    constexpr int kDigitBits = FixedPointSum::kDigitBits;
    double largest = 0.0;
    bool finite = true;
    for (const double value : addends) {
        finite = finite && std::isfinite(value);
        largest = std::max(largest, std::fabs(value));
    }
    double limits[2] = {largest, finite ? 0.0 : 1.0};
    all_reduce(comm, std::span<double>(limits), ReduceOp::max);
    if (limits[1] != 0.0) return std::numeric_limits<double>::quiet_NaN();
    if (limits[0] == 0.0) return 0.0;
    const int exponent = std::ilogb(limits[0]) + 1;
    FixedPointSum sum;
    std::size_t num_added = 0;
    for (const double value : addends) {
        const double scaled = std::ldexp(value, kDigitBits - exponent);
        const double high = std::nearbyint(scaled);
        sum.digits[1] += static_cast<std::int64_t>(high);
        sum.digits[2] += static_cast<std::int64_t>(std::nearbyint(std::ldexp(scaled - high, kDigitBits)));
        // An addend is at most 2^39 in each digit: 2^23 of them stay below 2^62.
        if (++num_added % (std::size_t{1} << 23) == 0) sum.carry();
    }
    sum.carry();
    // Carried digits of up to 2^24 ranks add up without overflow.
    all_reduce(comm, std::span<std::int64_t>(sum.digits), ReduceOp::sum);
    sum.carry();
    const double high =
        std::ldexp(static_cast<double>(sum.digits[0]), kDigitBits) + static_cast<double>(sum.digits[1]);
    return std::ldexp(high + std::ldexp(static_cast<double>(sum.digits[2]), -kDigitBits),
                      exponent - kDigitBits);
}

}  // namespace sy::comm
