#pragma once

#include <span>

#include "kernels/core/context.hpp"
#include "kernels/core/gradient.hpp"
#include "kernels/core/tensor.hpp"

/// A vector added to every row. T rows, N columns.
namespace sy::ops {

/// y[t] = x[t] + bias, and y[t] += bias.
/// @param x, y  [T, N]; may be the same
/// @param bias  [N]
/// @throws ShapeError when sides do not fit
void add_bias(MatrixView<const float> x, std::span<const float> bias, MatrixView<float> y,
              const Context& context);
void add_bias(std::span<const float> bias, MatrixView<float> y, const Context& context);

/// The second in the calling thread, for rows that are in its cache.
void add_bias_on_this_thread(std::span<const float> bias, MatrixView<float> y);

/// gradient[n] += sum over t of dy[t][n], In in {float, bf16}. Each block's rows are summed in order as float32, the
/// blocks are added in order (`fast`) or as fixed point (`reproducible`), so the result does not depend on the number
/// of threads.
/// @param dy        [T, N]
/// @param blocks    rows [blocks[b], blocks[b + 1]) form one sum; ascending, from 0 to T
/// @param gradient  of N elements
/// @throws ShapeError when sides do not fit or blocks do not divide the rows
template <class In>
void bias_backward(MatrixView<const In> dy, std::span<const index_t> blocks, GradientView gradient,
                   const Context& context);
/// The same over blocks of block_rows rows (the last may be shorter).
template <class In>
void bias_backward(MatrixView<const In> dy, index_t block_rows, GradientView gradient,
                   const Context& context);

namespace ref {
template <class In>
void bias_backward(MatrixView<const In> dy, std::span<double> gradient);
}  // namespace ref

}  // namespace sy::ops
