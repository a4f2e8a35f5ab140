#pragma once

#include <span>

#include "kernels/core/context.hpp"
#include "kernels/core/tensor.hpp"

/// Elements moved as they are. T rows, N columns.
namespace sy::ops {

/// y = x. Either may be columns of wider rows, or rows that lie apart; they do not overlap.
/// @param x  [T, N]
/// @param y  [T, N]
/// @throws ShapeError when the shapes differ
void copy(MatrixView<const float> x, MatrixView<float> y, const Context& context);

/// Sets every element to `value`.
void fill(float value, std::span<float> values, const Context& context);
void fill(float value, MatrixView<float> values, const Context& context);

namespace ref {
void copy(MatrixView<const float> x, MatrixView<float> y);
}  // namespace ref

}  // namespace sy::ops
