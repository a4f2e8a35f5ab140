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

bool same_shape(MatrixView<const float> a, MatrixView<const float> b) {
    return a.rows == b.rows && a.cols == b.cols;
}

/// body(t, e) for every element, on the threads.
template <class Body>
void for_elements(MatrixView<const float> shape, const Context& context, const Body& body) {
    const Timed timed(context, OpKind::routing, 5.0 * static_cast<double>(shape.rows * shape.cols));
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
    SY_FITS(
        same_shape(clean_te, logits_te) && same_shape(noise_te, logits_te) && same_shape(scale_te, logits_te),
        "learned_noise: clean [", clean_te.rows, ", ", clean_te.cols, "], noise [", noise_te.rows, ", ",
        noise_te.cols, "], scale [", scale_te.rows, ", ", scale_te.cols, "], logits [", logits_te.rows, ", ",
        logits_te.cols, "]");
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
    SY_FITS(
        same_shape(noise_te, draw_te) && same_shape(scale_te, draw_te) && same_shape(dlogits_te, draw_te) &&
            (dscale_te.data == nullptr || same_shape(dscale_te, draw_te)),
        "learned_noise_backward: noise [", noise_te.rows, ", ", noise_te.cols, "], scale [", scale_te.rows,
        ", ", scale_te.cols, "], gradients [", dlogits_te.rows, ", ", dlogits_te.cols, "] and [",
        dscale_te.rows, ", ", dscale_te.cols, "] into [", draw_te.rows, ", ", draw_te.cols, "]");
    for_elements(draw_te, context, [&](index_t t, index_t e) {
        const float direct = dscale_te.data == nullptr ? 0.0F : dscale_te(t, e);
        const float slope = -std::expm1(-(scale_te(t, e) - kNoiseFloor));
        draw_te(t, e) = (dlogits_te(t, e) * noise_te(t, e) + direct) * slope;
    });
}

}  // namespace sy::ops
