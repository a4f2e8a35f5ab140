#include "kernels/core/decimal.hpp"

#include <array>
#include <charconv>
#include <cmath>
#include <limits>

#include "kernels/core/error.hpp"

namespace sy {
namespace {

/// A decimal has at most 17 digits, a count at most 19: their product fits.
__extension__ using Wide = unsigned __int128;

constexpr index_t kLargest = std::numeric_limits<index_t>::max();

/// whole + part / divisor, where 0 <= part / divisor < 1 is kept as a comparison with a half.
struct Quotient {
    Wide whole = 0;
    bool has_rest = false;
    bool at_least_half = false;
};

/// digits * 10^exponent.
struct Decimal {
    Wide digits = 0;
    int exponent = 0;
};

Decimal shortest_decimal(double value) {
    std::array<char, 64> text{};
    const std::to_chars_result end =
        std::to_chars(text.data(), text.data() + text.size(), value, std::chars_format::scientific);
    SY_REQUIRE(end.ec == std::errc(), "decimal: ", value, " has no text");
    // D.DDDDe+XX
    Decimal decimal;
    const char* place = text.data();
    for (bool fraction = false; *place != 'e'; ++place) {
        if (*place == '.') {
            fraction = true;
            continue;
        }
        decimal.digits = decimal.digits * 10 + static_cast<Wide>(*place - '0');
        if (fraction) --decimal.exponent;
    }
    place += place[1] == '+' ? 2 : 1;
    int power = 0;
    std::from_chars(place, end.ptr, power);
    decimal.exponent += power;
    return decimal;
}

Quotient divide(double value, index_t count, index_t divisor) {
    SY_REQUIRE(std::isfinite(value) && value >= 0.0 && count >= 0 && divisor > 0, "decimal: ", value, " * ",
               count, " / ", divisor, " is no share of a count");
    const Decimal decimal = shortest_decimal(value);
    Wide product = decimal.digits * static_cast<Wide>(count);
    int exponent = decimal.exponent;
    const auto most = static_cast<Wide>(kLargest) * static_cast<Wide>(divisor);
    for (; exponent > 0 && product != 0; --exponent) {
        if (product > most / 10) return {static_cast<Wide>(kLargest), false, false};
        product *= 10;
    }
    // Digit after digit of the quotient's fraction falls off its end: the last one tells where the rest stands from a
    // half, and any of those before whether there is a rest behind it.
    const Wide parts = static_cast<Wide>(divisor);
    if (exponent == 0)
        return {product / parts, product % parts != 0, product % parts >= parts - product % parts};
    bool below = product % parts != 0;
    Wide whole = product / parts;
    Wide last = 0;
    for (; exponent < 0; ++exponent) {
        below = below || last != 0;
        last = whole % 10;
        whole /= 10;
    }
    return {whole, below || last != 0, last >= 5};
}

index_t index_of(Wide whole) {
    return whole > static_cast<Wide>(kLargest) ? kLargest : static_cast<index_t>(whole);
}

}  // namespace

index_t decimal_ceil(double value, index_t count, index_t divisor) {
    const Quotient quotient = divide(value, count, divisor);
    return index_of(quotient.whole + (quotient.has_rest ? 1U : 0U));
}

index_t decimal_floor(double value, index_t count, index_t divisor) {
    return index_of(divide(value, count, divisor).whole);
}

index_t decimal_round(double value, index_t count, index_t divisor) {
    const Quotient quotient = divide(value, count, divisor);
    return index_of(quotient.whole + (quotient.at_least_half ? 1U : 0U));
}

bool decimal_is_whole(double value, index_t count, index_t divisor) {
    return !divide(value, count, divisor).has_rest;
}

}  // namespace sy
