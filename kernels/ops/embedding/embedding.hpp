#pragma once

#include <cstdint>
#include <span>

#include "kernels/core/context.hpp"
#include "kernels/core/gradient.hpp"
#include "kernels/core/tensor.hpp"

namespace sy::ops {

/// out[t] = table[ids[t]]. table [V, H] float or bf16, ids [T] in [0, V), out [T, H].
/// @throws ShapeError naming the first id out of range
template <class In>
void embedding(MatrixView<const In> table, std::span<const std::int32_t> ids, MatrixView<float> out,
               const Context& context);

/// gradient[ids[t]] += dout[t], in ascending t for each id (`fast`; threads own columns) or as fixed point.
void embedding_backward(std::span<const std::int32_t> ids, MatrixView<const float> dout,
                        GradientView gradient, const Context& context);

/// x[t] += table[positions[t]]. table [P, H] float or bf16, positions [T] in [0, P), x [T, H]. Backward: x's gradient
/// passes, and the table's is embedding_backward with the positions for ids.
/// @throws ShapeError naming the first position out of range
template <class In>
void add_positions(MatrixView<const In> table, std::span<const std::int32_t> positions, MatrixView<float> x,
                   const Context& context);

/// The table of sinusoidal positions, [P, H]: table[p][2i] = sin(p / 10000^(2i / H)), table[p][2i + 1] = cos of the
/// same. Computed in double and rounded once.
/// @par Source  Vaswani et al., arXiv:1706.03762, section 3.5
void sine_table(MatrixView<float> table, const Context& context);

namespace ref {
void embedding_backward(std::span<const std::int32_t> ids, MatrixView<const float> dout,
                        MatrixView<double> gradient);
}  // namespace ref

}  // namespace sy::ops
