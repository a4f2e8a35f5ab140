#pragma once

#include "kernels/core/context.hpp"
#include "kernels/core/tensor.hpp"

namespace sy::ops {

/// Sum of squares of each row in double, in a fixed order of lanes: the unit of the gradient norm, so that the
/// norm does not depend on how rows are sharded. x [T, H] f32, sums [T] f64.
/// @throws ShapeError when sizes differ
void row_sums_of_squares(ConstTensorRef x, TensorRef sums, const Context& context);

/// y += x and y = x + z, elementwise. x, y, z [T, H] f32
/// @throws ShapeError when the shapes differ
void add(ConstTensorRef x, TensorRef y, const Context& context);
void add(ConstTensorRef x, ConstTensorRef z, TensorRef y, const Context& context);

/// y = factor * x, and x *= factor. x, y [T, H] f32
/// @throws ShapeError when the shapes differ
void scale(float factor, ConstTensorRef x, TensorRef y, const Context& context);
void scale(float factor, TensorRef x, const Context& context);

/// y[r] = factor[r] * x[r]. x, y [R, H] f32, which may be the same; factor [R] f32
/// @throws ShapeError when sizes differ
void scale_rows(ConstTensorRef factor, ConstTensorRef x, TensorRef y, const Context& context);

}  // namespace sy::ops
