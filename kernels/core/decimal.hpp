#pragma once

#include "kernels/core/types.hpp"

/// Counts that a decimal setting decides, computed as on paper: 1.6 is 16/10, not the binary number next to it, so that
/// 1.6 * 3 * 15 / 4 is 18 and not a little more.
namespace sy {

/// The decimal is the shortest that reads back as `value`. All four functions of value * count / divisor are exact;
/// what exceeds the largest index_t is that.
///
/// @pre value is finite and not negative, count >= 0, divisor > 0
index_t decimal_ceil(double value, index_t count, index_t divisor = 1);
index_t decimal_floor(double value, index_t count, index_t divisor = 1);
/// To the nearest whole number, halves up.
index_t decimal_round(double value, index_t count, index_t divisor = 1);
/// Whether value * count / divisor is whole.
bool decimal_is_whole(double value, index_t count, index_t divisor = 1);

}  // namespace sy
