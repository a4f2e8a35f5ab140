#pragma once

#include <span>

#include "kernels/core/context.hpp"
#include "kernels/core/tensor.hpp"

/// SwiGLU on blocks that are in cache: single-threaded, called from inside tasks.
/// @par Source  Shazeer, arXiv:2002.05202: silu(g) * u with silu(g) = g / (1 + e^-g)
namespace sy::ops {

/// h = silu(gate) * up. All [rows, F]; arithmetic float32. h may be gate or up.
void swiglu(MatrixView<const float> gate, MatrixView<const float> up, MatrixView<float> h);
/// The same, also written as bf16 for the next product, keeping gate and up as bf16 for backward.
void swiglu(MatrixView<const float> gate, MatrixView<const float> up, MatrixView<bf16> h);

/// One pass over a block of the backward of weight * swiglu:
/// given dh' = dy Wdown^T (unweighted) writes h, dgate, dup for dh = weight * dh', and dot[r] = sum_f h dh'.
/// In {float, bf16} is the type of the kept and of the produced values; dgate may be gate, dup may be up when
/// In is float. `weight` empty means 1 and `dot` may be empty.
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
template <class In>
void swiglu_backward(const SwigluBackward<In>& block);

namespace ref {
void swiglu(MatrixView<const float> gate, MatrixView<const float> up, MatrixView<float> h);
template <class In>
void swiglu_backward(const SwigluBackward<In>& block);
}  // namespace ref

}  // namespace sy::ops
