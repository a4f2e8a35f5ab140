#pragma once

#include "kernels/core/context.hpp"
#include "kernels/core/tensor.hpp"
#include "kernels/ops/activation/kind.hpp"

/// Functions of one element at a time, over all threads. T rows, N columns, f32; NaN stays NaN.
namespace sy::ops {

/// x becomes min(max(x, -limit), limit), in place.
/// @throws LogicError when limit is not positive and finite
/// @par Source  clip_qkv of MPT and DBRX (Databricks 2024)
void clip(TensorRef x, float limit, const Context& context);
/// The slope of clip: sets gradient to 0 where it stopped a value.
/// @param y  what clip left; at the limit the slope is 0
/// @throws ShapeError when the shapes differ
void clip_backward(ConstTensorRef y, float limit, TensorRef gradient, const Context& context);

/// x becomes 1 / (1 + e^-x), in place.
void sigmoid(TensorRef x, const Context& context);
/// gradient *= y (1 - y), y what sigmoid left.
/// @throws ShapeError when the shapes differ
void sigmoid_backward(ConstTensorRef y, TensorRef gradient, const Context& context);

/// y = f(x), f the function of an activation without a gate.
/// @throws ShapeError when the shapes differ; LogicError for an activation with a gate
void nonlinearity(Activation kind, ConstTensorRef x, TensorRef y, const Context& context);
/// dx = f'(x) dy; y receives f(x) again.
/// @throws as nonlinearity
struct NonlinearityBackward {
    ConstTensorRef x;
    ConstTensorRef dy;
    TensorRef y;
    TensorRef dx;
};
void nonlinearity_backward(Activation kind, const NonlinearityBackward& in, const Context& context);

namespace ref {
void clip(MatrixView<float> x, float limit);
void clip_backward(MatrixView<const float> y, float limit, MatrixView<float> gradient);
void sigmoid(MatrixView<float> x);
void sigmoid_backward(MatrixView<const float> y, MatrixView<float> gradient);
}  // namespace ref

}  // namespace sy::ops
