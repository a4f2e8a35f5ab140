#include "kernels/ops/noise/noise.hpp"

#include "kernels/ops/bodies.hpp"

namespace sy::ops {

void learned_noise(ConstTensorRef clean, ConstTensorRef noise, TensorRef scale, TensorRef logits,
                   const Context& context) {
    context.device.bodies().learned_noise(clean, noise, scale, logits, context);
}

void learned_noise_backward(const LearnedNoise& forward, ConstTensorRef dlogits, ConstTensorRef dscale,
                            TensorRef draw, const Context& context) {
    context.device.bodies().learned_noise_backward(forward, dlogits, dscale, draw, context);
}

}  // namespace sy::ops
