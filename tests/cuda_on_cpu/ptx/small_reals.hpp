#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "tests/cuda_on_cpu/ptx/rounding.hpp"

/// Numbers of 16 bits, each of which is a float.
namespace sy::emulation::ptx {

struct SmallFormat {
    int mantissa_bits;
    int least_exponent;  ///< of a normal number
    std::uint16_t infinity;
};
inline constexpr SmallFormat kF16{10, -14, 0x7c00};
inline constexpr SmallFormat kBf16{7, -126, 0x7f80};

inline double widened(std::uint16_t bits, const SmallFormat& format) {
    const int magnitude = bits & 0x7fff;
    const int exponent = magnitude >> format.mantissa_bits;
    const int mantissa = magnitude & ((1 << format.mantissa_bits) - 1);
    const int ones = format.infinity >> format.mantissa_bits;
    double value = 0.0;
    if (exponent == ones) {
        value = mantissa != 0 ? std::nan("") : HUGE_VAL;
    } else if (exponent == 0) {
        value = std::ldexp(mantissa, format.least_exponent - format.mantissa_bits);
    } else {
        value = std::ldexp(mantissa + (1 << format.mantissa_bits),
                           format.least_exponent - format.mantissa_bits + exponent - 1);
    }
    return (bits & 0x8000) != 0 ? -value : value;
}

/// Rounds once, from any float or double.
inline std::uint16_t narrowed(double value, const SmallFormat& format, Rounding rounding) {
    if (value != value) return 0x7fff;
    const std::uint16_t sign = std::signbit(value) ? 0x8000 : 0;
    const auto with_sign = [sign](int bits) { return std::uint16_t(sign | bits); };
    if (std::isinf(value)) return with_sign(format.infinity);
    if (value == 0.0) return sign;
    // The spacing of numbers near the value is a power of two, by which it is divided exactly.
    const int exponent = std::max(std::ilogb(value), format.least_exponent);
    const double whole = std::fabs(rounded(std::ldexp(value, format.mantissa_bits - exponent), rounding));
    const int hidden = 1 << format.mantissa_bits;
    const int bits = int(whole) + (exponent - format.least_exponent) * hidden;
    if (exponent <= 127 && bits < format.infinity) return with_sign(bits);
    const bool to_infinity = rounding == Rounding::nearest || (rounding == Rounding::up && sign == 0) ||
                             (rounding == Rounding::down && sign != 0);
    return with_sign(to_infinity ? format.infinity : format.infinity - 1);
}

}  // namespace sy::emulation::ptx
