#pragma once

#include <span>

#include "kernels/core/context.hpp"
#include "kernels/core/gradient.hpp"
#include "kernels/core/tensor.hpp"

/// Root-mean-square normalisation, alone and fused with the residual sum before it. T rows, H columns.
/// @par Source  Zhang and Sennrich, "Root mean square layer normalization", arXiv:1910.07467
namespace sy::ops {

/// y = x * rstd * gain with rstd = 1 / sqrt(mean(x^2) + eps).
/// @param x, y   [T, H]; y may be x
/// @param gain   [H]
/// @param rstd   [T] kept for backward
void rms_norm(MatrixView<const float> x, std::span<const float> gain, float eps, MatrixView<float> y,
              std::span<float> rstd, const Context& context);

/// sum = x + residual, y = rms_norm(sum), reading each input once. sum may be x or residual.
void add_rms_norm(MatrixView<const float> x, MatrixView<const float> residual, std::span<const float> gain,
                  float eps, MatrixView<float> sum, MatrixView<float> y, std::span<float> rstd,
                  const Context& context);

/// Backward of rms_norm: dx += (or =) the gradient of x, and gain's gradient [1, H] is added to.
/// Gain addends are summed over blocks of block_rows rows in row order, blocks in order (`fast`) or as fixed
/// point (`reproducible`), so the result does not depend on the number of threads.
enum class Write { overwrite, add };
struct RmsNormBackward {
    MatrixView<const float> x;
    std::span<const float> gain;
    std::span<const float> rstd;
    MatrixView<const float> dy;
    Write write = Write::add;
    index_t block_rows = 64;
};
void rms_norm_backward(const RmsNormBackward& in, MatrixView<float> dx, GradientView dgain,
                       const Context& context);

namespace ref {
void rms_norm(MatrixView<const float> x, std::span<const float> gain, float eps, MatrixView<float> y,
              std::span<float> rstd);
void rms_norm_backward(const RmsNormBackward& in, float eps, MatrixView<float> dx, std::span<double> dgain);
}  // namespace ref

}  // namespace sy::ops
