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

namespace ref {
void embedding_backward(std::span<const std::int32_t> ids, MatrixView<const float> dout,
                        MatrixView<double> gradient);
}  // namespace ref

}  // namespace sy::ops
