#pragma once

#include <cstdint>
#include <span>

#include "kernels/core/context.hpp"
#include "kernels/core/gradient_ref.hpp"
#include "kernels/core/host_view.hpp"
#include "kernels/core/list.hpp"

namespace sy::ops {

/// out[t] = table[ids[t]].
/// @param table  [V, H] f32 or bf16
/// @param ids    [T] in [0, V)
/// @param out    [T, H] f32
/// @throws ShapeError naming the first id of the host out of range, or when sides do not fit
void embedding(ConstTensorRef table, List<std::int32_t> ids, TensorRef out, const Context& context);

/// gradient[ids[t]] += dout[t], in ascending t for each id (`fast`; threads own columns) or as fixed point.
/// @param dout  [T, H] f32
void embedding_backward(std::span<const std::int32_t> ids, ConstTensorRef dout, GradientRef gradient,
                        const Context& context);

/// x[t] += table[positions[t]]. Backward: x's gradient passes, and the table's is embedding_backward with the positions
/// for ids.
/// @param table      [P, H] f32 or bf16
/// @param positions  [T] in [0, P)
/// @param x          [T, H] f32
/// @throws ShapeError naming the first position of the host out of range, or when sides do not fit
void add_positions(ConstTensorRef table, List<std::int32_t> positions, TensorRef x, const Context& context);

/// The table of sinusoidal positions, [P, H] f32: table[p][2i] = sin(p / 10000^(2i / H)), table[p][2i + 1] = cos of the
/// same. Computed in double and rounded once.
/// @par Source  Vaswani et al., arXiv:1706.03762, section 3.5
void sine_table(TensorRef table, const Context& context);

namespace ref {
void embedding_backward(std::span<const std::int32_t> ids, MatrixView<const float> dout,
                        MatrixView<double> gradient);
}  // namespace ref

}  // namespace sy::ops
