#include <algorithm>
#include <cmath>

#include "kernels/core/profile.hpp"
#include "kernels/core/fits.hpp"
#include "kernels/ops/noise/noise.hpp"

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
    context.team.for_ranges(shape.rows, 16, [&](index_t begin, index_t end) {
        for (index_t t = begin; t < end; ++t) {
            for (index_t e = 0; e < shape.cols; ++e) body(t, e);
        }
    });
}

}  // namespace

void learned_noise(MatrixView<const float> clean, MatrixView<const float> noise, MatrixView<float> scale,
                   MatrixView<float> logits, const Context& context) {
    SY_FITS(same_shape(clean, logits) && same_shape(noise, logits) && same_shape(scale, logits),
            "learned_noise: clean [", clean.rows, ", ", clean.cols, "], noise [", noise.rows, ", ",
            noise.cols, "], scale [", scale.rows, ", ", scale.cols, "], logits [", logits.rows, ", ",
            logits.cols, "]");
    for_elements(logits, context, [&](index_t t, index_t e) {
        scale(t, e) = softplus(scale(t, e)) + kNoiseFloor;
        logits(t, e) = clean(t, e) + noise(t, e) * scale(t, e);
    });
}

void learned_noise_backward(const LearnedNoise& forward, MatrixView<const float> dlogits,
                            MatrixView<const float> dscale, MatrixView<float> draw, const Context& context) {
    SY_FITS(same_shape(forward.noise, draw) && same_shape(forward.scale, draw) && same_shape(dlogits, draw) &&
                (dscale.data == nullptr || same_shape(dscale, draw)),
            "learned_noise_backward: noise [", forward.noise.rows, ", ", forward.noise.cols, "], scale [",
            forward.scale.rows, ", ", forward.scale.cols, "], gradients [", dlogits.rows, ", ", dlogits.cols,
            "] and [", dscale.rows, ", ", dscale.cols, "] into [", draw.rows, ", ", draw.cols, "]");
    for_elements(draw, context, [&](index_t t, index_t e) {
        const float direct = dscale.data == nullptr ? 0.0F : dscale(t, e);
        const float slope = -std::expm1(-(forward.scale(t, e) - kNoiseFloor));
        draw(t, e) = (dlogits(t, e) * forward.noise(t, e) + direct) * slope;
    });
}

}  // namespace sy::ops
