#pragma once

#include "kernels/core/context.hpp"
#include "kernels/core/philox.hpp"
#include "kernels/core/tensor.hpp"
#include "model/moe/router/strategy.hpp"

/// Chance in routing, in training only. T tokens on this rank, E experts; element (first_token + t) * E + e of a stream
/// decides about token t and expert e, so that noise does not depend on the layout.
namespace sy::model {

/// Added to the standard deviation of learned noise (Shazeer et al., the authors' code).
inline constexpr float kNoiseFloor = 0.01F;

/// logits += deviation * n, n standard normal or standard Gumbel.
void add_noise(LogitNoise kind, float deviation, const RandomKey& key, index_t first_token,
               MatrixView<float> logits, const Context& context);

/// Noisy top-k: scale = softplus(raw) + 0.01, noise standard normal, logits += noise * scale.
/// @param raw     [T, E] products with the noise weights; becomes the scale
/// @param noise   [T, E] is overwritten
/// @par Source  Shazeer et al., arXiv:1701.06538, eq. 4
void add_learned_noise(const RandomKey& key, index_t first_token, MatrixView<float> raw,
                       MatrixView<float> noise, MatrixView<float> logits, const Context& context);

/// Gradient of raw from that of the logits and, if its data is not null, a direct one of the scale: it goes through
/// softplus' = 1 - e^-softplus. draw [T, E] is overwritten.
void learned_noise_backward(const Routing& routing, MatrixView<const float> dlogits,
                            MatrixView<const float> dscale, MatrixView<float> draw, const Context& context);

/// GShard's random routing: the second choice goes out with probability min(1, 2 weight).
/// @param weight  [T, 2] as they combine, over moe.routed_scale
/// @return [T, 2] the choices that go out
/// @par Source  Lepikhin et al., arXiv:2006.16668, algorithm 1
Tensor draw_second(const Routing& routing, double scale, const RandomKey& key, index_t first_token,
                   const Context& context);

/// values rounded to bf16 and back.
void round_to_bf16(MatrixView<float> values, const Context& context);

}  // namespace sy::model
