#pragma once

#include <span>

#include "kernels/core/context.hpp"
#include "kernels/core/gradient_ref.hpp"
#include "kernels/core/tensor.hpp"
#include "kernels/core/write.hpp"
#include "kernels/ops/norm/kind.hpp"

/// Normalisation of rows, alone and fused with the residual sum before it. T rows, H columns; a row is what is
/// normalised, so [T, heads * D] seen as [T * heads, D] is normalised head by head.
/// @par Source  Zhang and Sennrich, "Root mean square layer normalization", arXiv:1910.07467;
///              Ba, Kiros and Hinton, "Layer normalization", arXiv:1607.06450
namespace sy::ops {

/// rms:   y = x * rstd * gain + bias           with rstd = 1 / sqrt(mean(x^2) + eps)
/// layer: y = (x - mean) * rstd * gain + bias  with rstd = 1 / sqrt(mean((x - mean)^2) + eps), the mean first
struct Norm {
    NormKind kind = NormKind::rms;
    ConstTensorRef gain;  ///< [H] f32
    ConstTensorRef bias;  ///< [H] f32; null: none
    float eps = 1e-5F;
};

/// What forward keeps of each row for backward.
struct NormStatistics {
    TensorRef rstd;  ///< [T] f32
    TensorRef mean;  ///< [T] f32 for layer; empty for rms
};

/// y = norm(x).
/// @param x, y   [T, H] f32; y may be x
/// @throws ShapeError when sides do not fit
void norm(const Norm& rule, ConstTensorRef x, TensorRef y, const NormStatistics& statistics,
          const Context& context);

/// sum = x + residual, y = norm(sum), reading each input once. sum may be x or residual. [T, H] f32 each.
struct AddNorm {
    ConstTensorRef x;
    ConstTensorRef residual;
    TensorRef sum;
    TensorRef y;
};
/// @throws ShapeError when sides do not fit
void add_norm(const Norm& rule, const AddNorm& rows, const NormStatistics& statistics,
              const Context& context);

struct NormBackward {
    ConstTensorRef x;     ///< [T, H] f32, what was normalised
    ConstTensorRef rstd;  ///< [T] f32 of forward
    ConstTensorRef mean;  ///< [T] f32 of forward for layer; empty for rms
    ConstTensorRef dy;    ///< [T, H] f32
    Write write = Write::add;
    /// Gain and bias addends are summed over blocks of block_rows rows in row order, blocks in order (`fast`) or as
    /// fixed point (`reproducible`), so the result does not depend on the number of threads.
    index_t block_rows = 64;
};
/// [1, H] each, added to. The bias's has null data when the norm has none.
struct NormGradients {
    GradientRef gain;
    GradientRef bias;
};
/// Backward of norm: dx += (or =) the gradient of x. dx may be dy when it is overwritten.
/// @param dx  [T, H] f32
/// @throws ShapeError when sides do not fit, or a bias comes without its gradient or a gradient without its bias
void norm_backward(const Norm& rule, const NormBackward& in, TensorRef dx, const NormGradients& gradients,
                   const Context& context);

namespace ref {
void norm(const Norm& rule, MatrixView<const float> x, MatrixView<float> y);
/// Computes the statistics from x. `dgain` and `dbias` are added to; `dbias` may be empty.
void norm_backward(const Norm& rule, const NormBackward& in, MatrixView<float> dx, std::span<double> dgain,
                   std::span<double> dbias);
}  // namespace ref

}  // namespace sy::ops
