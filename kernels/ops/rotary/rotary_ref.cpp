#include <cmath>

#include "kernels/ops/rotary/rotary.hpp"

namespace sy::ops::ref {

void rotary(MatrixView<float> x, index_t head_dim, std::span<const std::int32_t> position, double theta,
            Direction direction) {
    const index_t half = head_dim / 2;
    for (index_t t = 0; t < x.rows; ++t) {
        for (index_t head = 0; head < x.cols / head_dim; ++head) {
            for (index_t i = 0; i < half; ++i) {
                double angle = static_cast<double>(position[static_cast<std::size_t>(t)]) *
                               std::pow(theta, -2.0 * static_cast<double>(i) / static_cast<double>(head_dim));
                if (direction == Direction::backward) angle = -angle;
                float& first = x(t, head * head_dim + i);
                float& second = x(t, head * head_dim + half + i);
                const double a = static_cast<double>(first);
                const double b = static_cast<double>(second);
                first = static_cast<float>(a * std::cos(angle) - b * std::sin(angle));
                second = static_cast<float>(b * std::cos(angle) + a * std::sin(angle));
            }
        }
    }
}

}  // namespace sy::ops::ref
