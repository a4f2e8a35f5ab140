#pragma once

#include <span>

#include "kernels/core/context.hpp"
#include "kernels/core/gradient_ref.hpp"
#include "kernels/core/host_view.hpp"

/// A vector added to every row. T rows, N columns.
namespace sy::ops {

/// y[t] = x[t] + bias, and y[t] += bias.
/// @param x, y  [T, N] f32; may be the same
/// @param bias  [N] f32
/// @throws ShapeError when sides do not fit
void add_bias(ConstTensorRef x, ConstTensorRef bias, TensorRef y, const Context& context);
void add_bias(ConstTensorRef bias, TensorRef y, const Context& context);

/// gradient[n] += sum over t of dy[t][n]. Each block's rows are summed in order as float32, the
/// blocks are added in order (`fast`) or as fixed point (`reproducible`), so the result does not depend on the number
/// of threads.
/// @param dy        [T, N] f32 or bf16
/// @param blocks    rows [blocks[b], blocks[b + 1]) form one sum; ascending, from 0 to T
/// @param gradient  of N elements
/// @throws ShapeError when sides do not fit or blocks do not divide the rows
void bias_backward(ConstTensorRef dy, std::span<const index_t> blocks, GradientRef gradient,
                   const Context& context);
/// The same over blocks of block_rows rows (the last may be shorter).
void bias_backward(ConstTensorRef dy, index_t block_rows, GradientRef gradient, const Context& context);

namespace ref {
template <class In>
void bias_backward(MatrixView<const In> dy, std::span<double> gradient);
}  // namespace ref

}  // namespace sy::ops
