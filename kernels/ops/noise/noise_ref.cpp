#include <cmath>

#include "kernels/core/host_view.hpp"
#include "kernels/ops/noise/noise.hpp"

namespace sy::ops::ref {

void learned_noise(MatrixView<const float> clean, MatrixView<const float> noise, MatrixView<float> scale,
                   MatrixView<float> logits) {
    for (index_t t = 0; t < scale.rows; ++t) {
        for (index_t e = 0; e < scale.cols; ++e) {
            const auto raw = static_cast<double>(scale(t, e));
            const double deviation = std::fmax(raw, 0.0) + std::log1p(std::exp(-std::fabs(raw))) +
                                     static_cast<double>(kNoiseFloor);
            scale(t, e) = static_cast<float>(deviation);
            logits(t, e) = static_cast<float>(static_cast<double>(clean(t, e)) +
                                              static_cast<double>(noise(t, e)) * deviation);
        }
    }
}

void learned_noise_backward(const LearnedNoise& forward, MatrixView<const float> dlogits,
                            MatrixView<const float> dscale, MatrixView<float> draw) {
    const auto noise = host<const float>(forward.noise);
    const auto scale = host<const float>(forward.scale);
    for (index_t t = 0; t < draw.rows; ++t) {
        for (index_t e = 0; e < draw.cols; ++e) {
            const double direct = dscale.data == nullptr ? 0.0 : static_cast<double>(dscale(t, e));
            const double softplus = static_cast<double>(scale(t, e)) - static_cast<double>(kNoiseFloor);
            draw(t, e) = static_cast<float>(
                (static_cast<double>(dlogits(t, e)) * static_cast<double>(noise(t, e)) + direct) *
                (1.0 - std::exp(-softplus)));
        }
    }
}

}  // namespace sy::ops::ref
