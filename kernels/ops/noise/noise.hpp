#pragma once

#include "kernels/core/context.hpp"
#include "kernels/core/tensor_ref.hpp"

/// Noise with a learned scale on a router's logits. T tokens, E experts. All [T, E] float32.
/// @par Source  Shazeer et al., arXiv:1701.06538, eq. 4
namespace sy::ops {

/// Added to the standard deviation of learned noise (Shazeer et al., the authors' code).
inline constexpr float kNoiseFloor = 0.01F;

/// scale = softplus(scale) + kNoiseFloor, logits = clean + noise * scale.
/// @param scale   holds the products with the noise weights; becomes the standard deviation
/// @param logits  may be clean
/// @throws ShapeError when the shapes differ
void learned_noise(ConstTensorRef clean, ConstTensorRef noise, TensorRef scale, TensorRef logits,
                   const Context& context);

/// Gradient of what scale was made of, from those of the logits and of the scale itself: through
/// softplus' = 1 - e^-softplus.
/// @param scale   as learned_noise has left it
/// @param dscale  null: zero
/// @param draw    is overwritten
/// @throws ShapeError when the shapes differ
struct LearnedNoise {
    ConstTensorRef noise, scale;
};
void learned_noise_backward(const LearnedNoise& forward, ConstTensorRef dlogits, ConstTensorRef dscale,
                            TensorRef draw, const Context& context);

namespace ref {
void learned_noise(MatrixView<const float> clean, MatrixView<const float> noise, MatrixView<float> scale,
                   MatrixView<float> logits);
void learned_noise_backward(const LearnedNoise& forward, MatrixView<const float> dlogits,
                            MatrixView<const float> dscale, MatrixView<float> draw);
}  // namespace ref

}  // namespace sy::ops
