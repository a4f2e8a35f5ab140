#pragma once

#include <cstdint>
#include <span>

#include "kernels/core/context.hpp"
#include "kernels/core/tensor.hpp"

namespace sy {

/// Weight of one unit in the last place of a fixed-point gradient: 2^-46. The range of a sum is +-2^17 (partial
/// sums may leave it: they are modulo 2^64). Each addend must stay below a limit, at most 2^10; larger or non-finite
/// addends count as 0 and set the overflow flag.
/// @par Source  order-independent sums by fixed point, Demmel and Nguyen (2015)
inline constexpr double kGradientUnit = 0x1p-46;
inline constexpr float kGradientLimit = 0x1p10F;

/// The limit of each addend that keeps a sum of `num_addends` of them within its range, so that no sum wraps unseen.
/// It must be the same on every layout: count the addends of the whole step.
/// @param num_addends  1 or more
float gradient_limit(index_t num_addends);

/// Where the gradient of one parameter (or of one expert's matrix) is summed: float32 in `fast` mode, 64-bit
/// fixed point in `reproducible` mode, where sums do not depend on order or grouping. Row-major, as the weight.
/// Exactly one of the two is non-null.
struct GradientView {
    float* f32 = nullptr;
    std::int64_t* fixed = nullptr;
    index_t rows = 0;
    index_t cols = 0;
    /// Set (never cleared) when an addend was non-finite or not below `limit`; needed with `fixed`.
    bool* overflow = nullptr;
    /// What the magnitude of an addend must stay below, at most kGradientLimit; used with `fixed`.
    float limit = kGradientLimit;

    GradientView rows_of(Range range) const {
        return {f32 == nullptr ? nullptr : f32 + range.begin * cols,
                fixed == nullptr ? nullptr : fixed + range.begin * cols,
                range.size(),
                cols,
                overflow,
                limit};
    }
};

/// gradient[i] += addends[i], in either representation. Single-threaded; addends.size() elements from `first`.
/// The one place where a float becomes fixed point: round(addend * 2^46) to nearest even.
void accumulate(std::span<const float> addends, index_t first, GradientView gradient);
/// The same for a matrix of addends whose element (0, 0) belongs to (row, col).
void accumulate(MatrixView<const float> addends, index_t row, index_t col, GradientView gradient);

/// values[i] = float(sums[i] * unit). The rounding of the final sum, once.
void from_fixed_point(std::span<const std::int64_t> sums, std::span<float> values);

}  // namespace sy
