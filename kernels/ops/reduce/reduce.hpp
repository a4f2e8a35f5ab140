#pragma once

#include <span>

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

/// sum = addends[0] + addends[1] + ..., in this order, elementwise; integers modulo 2^64. The sum may be one of the
/// addends.
/// @param addends  one or more, as the sum  @param sum  [T, H] f32 or i64 without gaps
/// @throws ShapeError when sides or dtypes differ, or there is no addend
void add_in_order(std::span<const ConstTensorRef> addends, TensorRef sum, const Context& context);

/// values = sums * kGradientUnit, rounded once: a gradient in fixed point (kernels/core/gradient_ref.hpp) as floats.
/// @param sums  [T, H] i64  @param values  [T, H] f32; both without gaps
/// @throws ShapeError when sides differ
void round_fixed_point(ConstTensorRef sums, TensorRef values, const Context& context);

/// y = factor * x, and x *= factor. x, y [T, H] f32
/// @throws ShapeError when the shapes differ
void scale(float factor, ConstTensorRef x, TensorRef y, const Context& context);
void scale(float factor, TensorRef x, const Context& context);

/// y[r] = factor[r] * x[r]. x, y [R, H] f32, which may be the same; factor [R] f32
/// @throws ShapeError when sizes differ
void scale_rows(ConstTensorRef factor, ConstTensorRef x, TensorRef y, const Context& context);

}  // namespace sy::ops
