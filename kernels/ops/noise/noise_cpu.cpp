#include <algorithm>
#include <cmath>

#include "kernels/core/profile.hpp"
#include "kernels/core/fits.hpp"
#include "kernels/core/host_view.hpp"
#include "kernels/ops/noise/noise.hpp"
#include "kernels/ops/cpu_bodies.hpp"
#include "kernels/ops/cpu_device.hpp"

namespace sy::ops {
namespace {

/// Without overflow, and exact where e^x vanishes beside 1.
float softplus(float x) {
    return std::max(x, 0.0F) + std::log1p(std::exp(-std::fabs(x)));
}

/// body(t, e) for every element, on the threads.
template <class Body>
void for_elements(MatrixView<const float> shape, const Context& context, const Body& body) {
    cpu(context).team().for_ranges(shape.rows, 16, [&](index_t begin, index_t end) {
        for (index_t t = begin; t < end; ++t) {
            for (index_t e = 0; e < shape.cols; ++e) body(t, e);
        }
    });
}

}  // namespace

void on_cpu::learned_noise(ConstTensorRef clean, ConstTensorRef noise, TensorRef scale, TensorRef logits,
                           const Context& context) {
    const auto clean_te = host<const float>(clean);
    const auto noise_te = host<const float>(noise);
    const auto scale_te = host<float>(scale);
    const auto logits_te = host<float>(logits);
    for_elements(logits_te, context, [&](index_t t, index_t e) {
        scale_te(t, e) = softplus(scale_te(t, e)) + kNoiseFloor;
        logits_te(t, e) = clean_te(t, e) + noise_te(t, e) * scale_te(t, e);
    });
}

void on_cpu::learned_noise_backward(const LearnedNoise& forward, ConstTensorRef dlogits,
                                    ConstTensorRef dscale, TensorRef draw, const Context& context) {
    const auto noise_te = host<const float>(forward.noise);
    const auto scale_te = host<const float>(forward.scale);
    const auto dlogits_te = host<const float>(dlogits);
    const auto dscale_te = host<const float>(dscale);
    const auto draw_te = host<float>(draw);
    for_elements(draw_te, context, [&](index_t t, index_t e) {
        const float direct = dscale_te.data == nullptr ? 0.0F : dscale_te(t, e);
        const float slope = -std::expm1(-(scale_te(t, e) - kNoiseFloor));
        draw_te(t, e) = (dlogits_te(t, e) * noise_te(t, e) + direct) * slope;
    });
}

}  // namespace sy::ops
