#include "kernels/ops/noise/noise.hpp"

#include "kernels/cuda/cuda_bodies.hpp"
#include "kernels/cuda/launch.hpp"
#include "kernels/cuda/view.hpp"

namespace sy::ops {
namespace {

/// Without overflow, and exact where e^x vanishes beside 1.
__device__ float softplus(float x) {
    return (x < 0.0F ? 0.0F : x) + log1pf(expf(-fabsf(x)));
}

}  // namespace

void on_cuda::learned_noise(ConstTensorRef clean, ConstTensorRef noise, TensorRef scale, TensorRef logits,
                            const Context& context) {
    const auto clean_te = cuda::view<const float>(clean);
    const auto noise_te = cuda::view<const float>(noise);
    const auto scale_te = cuda::view<float>(scale);
    const auto logits_te = cuda::view<float>(logits);
    cuda::for_matrix(context, logits_te.rows, logits_te.cols, [=] __device__(index_t t, index_t e) {
        const float deviation = softplus(scale_te(t, e)) + kNoiseFloor;
        scale_te(t, e) = deviation;
        logits_te(t, e) = clean_te(t, e) + noise_te(t, e) * deviation;
    });
}

void on_cuda::learned_noise_backward(const LearnedNoise& forward, ConstTensorRef dlogits,
                                     ConstTensorRef dscale, TensorRef draw, const Context& context) {
    const auto noise_te = cuda::view<const float>(forward.noise);
    const auto scale_te = cuda::view<const float>(forward.scale);
    const auto dlogits_te = cuda::view<const float>(dlogits);
    const auto dscale_te = cuda::view<const float>(dscale);
    const auto draw_te = cuda::view<float>(draw);
    cuda::for_matrix(context, draw_te.rows, draw_te.cols, [=] __device__(index_t t, index_t e) {
        const float direct = dscale_te.data == nullptr ? 0.0F : dscale_te(t, e);
        const float slope = -expm1f(-(scale_te(t, e) - kNoiseFloor));
        draw_te(t, e) = (dlogits_te(t, e) * noise_te(t, e) + direct) * slope;
    });
}

}  // namespace sy::ops
