#include "kernels/ops/noise/noise.hpp"

#include "kernels/core/fits.hpp"
#include "kernels/core/profile.hpp"
#include "kernels/ops/bodies.hpp"

namespace sy::ops {

void learned_noise(ConstTensorRef clean, ConstTensorRef noise, TensorRef scale, TensorRef logits,
                   const Context& context) {
    SY_FITS(same_sides(clean, logits) && same_sides(noise, logits) && same_sides(scale, logits),
            "learned_noise: clean [", clean.rows(), ", ", clean.cols(), "], noise [", noise.rows(), ", ",
            noise.cols(), "], scale [", scale.rows(), ", ", scale.cols(), "], logits [", logits.rows(), ", ",
            logits.cols(), "]");
    const Timed timed(context, OpKind::routing, 5.0 * static_cast<double>(logits.num_elements()));
    context.device.bodies().learned_noise(clean, noise, scale, logits, context);
}

void learned_noise_backward(const LearnedNoise& forward, ConstTensorRef dlogits, ConstTensorRef dscale,
                            TensorRef draw, const Context& context) {
    SY_FITS(same_sides(forward.noise, draw) && same_sides(forward.scale, draw) && same_sides(dlogits, draw) &&
                (dscale.is_null() || same_sides(dscale, draw)),
            "learned_noise_backward: noise [", forward.noise.rows(), ", ", forward.noise.cols(), "], scale [",
            forward.scale.rows(), ", ", forward.scale.cols(), "], gradients [", dlogits.rows(), ", ",
            dlogits.cols(), "] and [", dscale.rows(), ", ", dscale.cols(), "] into [", draw.rows(), ", ",
            draw.cols(), "]");
    const Timed timed(context, OpKind::routing, 5.0 * static_cast<double>(draw.num_elements()));
    context.device.bodies().learned_noise_backward(forward, dlogits, dscale, draw, context);
}

}  // namespace sy::ops
