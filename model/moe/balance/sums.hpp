#pragma once

#include <cmath>
#include <cstdint>

/// Sums that ranks add: fixed point of 2^-36, so that they do not depend on the layout.
namespace sy::model {

inline constexpr double kSumUnit = 0x1p-36;
inline std::int64_t to_sum(double value) {
    return std::llrint(value / kSumUnit);
}
inline double from_sum(std::int64_t sum) {
    return static_cast<double>(sum) * kSumUnit;
}

}  // namespace sy::model
