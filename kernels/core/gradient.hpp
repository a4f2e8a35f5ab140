#pragma once

#include <cstdint>
#include <span>

#include "kernels/core/gradient_ref.hpp"
#include "kernels/core/host_view.hpp"

namespace sy {

/// A gradient (kernels/core/gradient_ref.hpp) as the host's elements. Exactly one of `f32` and `fixed` is non-null; both
/// are null where there is no gradient.
struct GradientView {
    float* f32 = nullptr;
    std::int64_t* fixed = nullptr;
    index_t rows = 0;
    index_t cols = 0;
    std::uint8_t* overflow = nullptr;
    float limit = kGradientLimit;

    operator GradientRef() const;  // NOLINT(google-explicit-constructor): as a view to a reference
};

/// The elements of a gradient. @throws LogicError when it is in neither representation
GradientView host_gradient(const GradientRef& gradient);

/// gradient[i] += addends[i], in either representation. Single-threaded; addends.size() elements from `first`.
/// The one place where a float becomes fixed point: round(addend * 2^46) to nearest even.
void accumulate(std::span<const float> addends, index_t first, GradientView gradient);
/// The same for a matrix of addends whose element (0, 0) belongs to (row, col).
void accumulate(MatrixView<const float> addends, index_t row, index_t col, GradientView gradient);

/// values[i] = float(sums[i] * unit). The rounding of the final sum, once.
void from_fixed_point(std::span<const std::int64_t> sums, std::span<float> values);

}  // namespace sy
