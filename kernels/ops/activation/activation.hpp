#pragma once

#include <span>

#include "kernels/core/tensor.hpp"

/// SwiGLU on blocks that are in cache: single-threaded, called from inside tasks. F expert width.
/// Arithmetic is float32 and element by element, so a row does not depend on the rows beside it.
/// @par Source  Shazeer, arXiv:2002.05202: silu(g) * u with silu(g) = g / (1 + e^-g)
namespace sy::ops {

/// One pass: h = weight * silu(gate) * up, all [rows, F]. In {float, bf16} is the type of h, the next product's
/// operand. `weight` has one value a row; empty means 1. h may be gate or up when In is float.
/// kept_gate and kept_up receive copies for backward (rounded when In is bf16) unless their data is null.
template <class In>
struct Swiglu {
    MatrixView<const float> gate;
    MatrixView<const float> up;
    std::span<const float> weight;
    MatrixView<In> h;
    MatrixView<In> kept_gate;
    MatrixView<In> kept_up;
};
/// @throws LogicError when the sides differ
template <class In>
void swiglu(const Swiglu<In>& block);

/// One pass over a block of the backward, given dh, the gradient of silu(gate) * up before weighting:
/// h = weight * silu(gate) * up again, dgate and dup = weight * (gradients of gate and up), and
/// dot[r] = sum over f of silu(gate) * up * dh, the gradient of the weight.
/// In is the type of the kept and of the produced values; dgate may be gate, dup may be up. `weight` empty
/// means 1 and `dot` may be empty.
template <class In>
struct SwigluBackward {
    MatrixView<const In> gate;
    MatrixView<const In> up;
    MatrixView<const float> dh;
    std::span<const float> weight;
    MatrixView<In> h;
    MatrixView<In> dgate;
    MatrixView<In> dup;
    std::span<float> dot;
};
/// @throws LogicError when the sides differ
template <class In>
void swiglu_backward(const SwigluBackward<In>& block);

namespace ref {
template <class In>
void swiglu(const Swiglu<In>& block);
template <class In>
void swiglu_backward(const SwigluBackward<In>& block);
}  // namespace ref

}  // namespace sy::ops
