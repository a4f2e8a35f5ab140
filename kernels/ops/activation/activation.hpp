#pragma once

#include <span>

#include "kernels/core/tensor.hpp"
#include "kernels/ops/activation/kind.hpp"

/// The non-linearities of feed-forwards on blocks that are in cache: single-threaded, called from inside tasks.
/// F expert width. Arithmetic is float32 and element by element, so a row does not depend on the rows beside it.
/// f is the function that kind.hpp names; where it has no gate, the views of gate have null data.
namespace sy::ops {

/// One pass: h = weight * f(gate) * up, or weight * f(up), all [rows, F], of projections to which a bias is added first.
/// In {float, bf16} is the type of h, the next product's operand. h may be gate or up when In is float.
template <class In>
struct Activate {
    Activation kind = Activation::swiglu;
    MatrixView<const float> gate;
    MatrixView<const float> up;
    std::span<const float> gate_bias;  ///< [F]; empty: none, and gate_bias and up_bias only together
    std::span<const float> up_bias;
    std::span<const float> weight;  ///< one value a row; empty: all are 1
    MatrixView<In> h;
    /// Receive the projections with their biases for backward (rounded when In is bf16) unless data is null. They may
    /// be gate and up when In is float.
    MatrixView<In> kept_gate;
    MatrixView<In> kept_up;
};
/// @throws ShapeError when the sides differ
template <class In>
void activate(const Activate<In>& block);

/// One pass over a block of the backward, given dh, the gradient of f(gate) * up before weighting, and the kept
/// projections: h again, dgate and dup = weight * (gradients of gate and up), and dot[r] = sum over f of
/// f(gate) * up * dh, the gradient of the weight. In is the type of the kept and of the produced values; dgate may be
/// gate, dup may be up. At the kink of max(x, 0) the slope is 0. The biases' gradients are the column sums of dgate
/// and dup (kernels/ops/bias).
template <class In>
struct ActivateBackward {
    Activation kind = Activation::swiglu;
    MatrixView<const In> gate;
    MatrixView<const In> up;
    MatrixView<const float> dh;
    std::span<const float> weight;  ///< as in forward
    MatrixView<In> h;
    MatrixView<In> dgate;
    MatrixView<In> dup;
    std::span<float> dot;  ///< [rows], or empty
};
/// @throws ShapeError when the sides differ
template <class In>
void activate_backward(const ActivateBackward<In>& block);

namespace ref {
/// f(x) and its slope, f the function of `kind` before gating.
double nonlinearity(Activation kind, double x);
double nonlinearity_slope(Activation kind, double x);

template <class In>
void activate(const Activate<In>& block);
template <class In>
void activate_backward(const ActivateBackward<In>& block);
}  // namespace ref

}  // namespace sy::ops
