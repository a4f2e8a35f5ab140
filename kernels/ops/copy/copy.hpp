#pragma once

#include "kernels/core/context.hpp"
#include "kernels/core/tensor.hpp"

/// Elements moved as they are. T rows, N columns.
namespace sy::ops {

/// y = x. Either may be columns of wider rows, or rows that lie apart; they do not overlap.
/// @param x  [T, N] f32
/// @param y  [T, N] f32
/// @throws ShapeError when the shapes differ
void copy(ConstTensorRef x, TensorRef y, const Context& context);

/// Sets every element to `value`.
/// @param values  [T, N] f32
void fill(float value, TensorRef values, const Context& context);

/// Sets every element to 0. @param values  [T, N] of any dtype
void clear(TensorRef values, const Context& context);

namespace ref {
void copy(MatrixView<const float> x, MatrixView<float> y);
}  // namespace ref

}  // namespace sy::ops
