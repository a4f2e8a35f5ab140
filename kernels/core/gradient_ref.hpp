#pragma once

#include "kernels/core/tensor_ref.hpp"

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

/// Where a device sums the gradient of one parameter (or of one expert's matrix): float32 in `fast` mode, 64-bit fixed
/// point in `reproducible` mode, where sums do not depend on order or grouping. Row-major, without gaps, as the weight.
struct GradientRef {
    TensorRef sums;  ///< [rows, cols] f32 or i64; null: there is no gradient
    /// [1] u8, set to 1 (never cleared) when an addend was non-finite or not below `limit`; needed with i64.
    TensorRef overflow{};
    /// What the magnitude of an addend must stay below, at most kGradientLimit; used with i64.
    float limit = kGradientLimit;

    bool is_null() const { return sums.is_null(); }
    bool is_fixed() const { return sums.dtype() == DType::i64; }
    index_t rows() const { return sums.rows(); }
    index_t cols() const { return sums.cols(); }
    index_t num_elements() const { return sums.num_elements(); }
    GradientRef rows_of(Range range) const { return {sums.rows_of(range), overflow, limit}; }
};

}  // namespace sy
