#pragma once

#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

/// Sums that ranks add: fixed point of 2^-36, so that they do not depend on the layout.
namespace sy::model {

inline constexpr double kSumUnit = 0x1p-36;
inline std::int64_t to_sum(double value) {
    return std::llrint(value / kSumUnit);
}
inline double from_sum(std::int64_t sum) {
    return static_cast<double>(sum) * kSumUnit;
}

/// CV^2 = population variance / (mean^2 + 1e-10) of fixed-point sums.
/// @par Source  Shazeer et al., arXiv:1701.06538, eq. 7 and appendix A
double squared_variation(std::span<const std::int64_t> sums);
/// Its derivative by each sum.
std::vector<double> squared_variation_gradient(std::span<const std::int64_t> sums);

}  // namespace sy::model
