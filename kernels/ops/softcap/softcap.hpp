#pragma once

#include "kernels/core/context.hpp"
#include "kernels/core/tensor.hpp"

/// Soft capping of logits: identity near 0, never beyond +-cap. T rows, V columns.
/// @par Source  Bello et al., arXiv:1611.09940; as in Gemma 2, arXiv:2408.00118
namespace sy::ops {

/// y = cap * tanh(x / cap). x, y [T, V] f32; may be the same.
/// @throws ShapeError when the shapes differ; LogicError when cap is not positive, finite and normal
void soft_cap(ConstTensorRef x, float cap, TensorRef y, const Context& context);

/// gradient *= 1 - tanh(x / cap)^2, the derivative at x, the logits before the cap. A head that caps a chunk of logits
/// out of place keeps x for this and lets the loss put its gradient in place of y: no copy is made.
/// @param x, gradient  [T, V] f32
/// @throws as soft_cap
void soft_cap_backward(ConstTensorRef x, float cap, TensorRef gradient, const Context& context);

namespace ref {
void soft_cap(MatrixView<const float> x, float cap, MatrixView<float> y);
void soft_cap_backward(MatrixView<const float> x, float cap, MatrixView<float> gradient);
}  // namespace ref

}  // namespace sy::ops
