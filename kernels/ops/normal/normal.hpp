#pragma once

#include "kernels/core/context.hpp"
#include "kernels/core/tensor.hpp"

/// The standard normal distribution, element by element. T rows, E columns.
namespace sy::ops {

/// y = Phi(x), the probability of less than x, to 1e-7 absolute. x, y [T, E] f32; may be the same.
/// @throws ShapeError when the shapes differ
void normal_cdf(ConstTensorRef x, TensorRef y, const Context& context);

/// y = phi(x) = e^(-x^2 / 2) / sqrt(2 pi), the derivative of normal_cdf. x, y [T, E] f32; may be the same.
/// @throws ShapeError when the shapes differ
void normal_density(ConstTensorRef x, TensorRef y, const Context& context);

namespace ref {
void normal_cdf(MatrixView<const float> x, MatrixView<float> y);
void normal_density(MatrixView<const float> x, MatrixView<float> y);
}  // namespace ref

}  // namespace sy::ops
