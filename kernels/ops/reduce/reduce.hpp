#pragma once

#include <span>

#include "kernels/core/context.hpp"
#include "kernels/core/tensor.hpp"

namespace sy::ops {

/// Sum of squares of each row in double, in a fixed order of lanes: the unit of the gradient norm, so that the
/// norm does not depend on how rows are sharded. x [T, H], sums [T].
void row_sums_of_squares(MatrixView<const float> x, std::span<double> sums, const Context& context);

/// sums[c] += sum over rows of x[r, c]; rows in order within blocks of 64, blocks in order. sums [H].
void column_sums(MatrixView<const float> x, std::span<float> sums, const Context& context);

/// y += x and y = x + z, elementwise, equal shapes.
void add(MatrixView<const float> x, MatrixView<float> y, const Context& context);
void add(MatrixView<const float> x, MatrixView<const float> z, MatrixView<float> y, const Context& context);

/// y = factor * x, and x *= factor. x, y [T, H]
void scale(float factor, MatrixView<const float> x, MatrixView<float> y, const Context& context);
void scale(float factor, MatrixView<float> x, const Context& context);

/// y[r] = factor[r] * x[r]. x, y [R, H], which may be the same; factor [R]
/// @throws ShapeError when sizes differ
void scale_rows(std::span<const float> factor, MatrixView<const float> x, MatrixView<float> y,
                const Context& context);

/// Sum in double, fixed order.
double sum(std::span<const float> values);

/// Whether every value is finite.
bool all_finite(std::span<const float> values, const Context& context);

}  // namespace sy::ops
