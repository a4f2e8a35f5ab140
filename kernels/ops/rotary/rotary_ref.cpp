#include <cmath>

#include "kernels/ops/rotary/rotary.hpp"

namespace sy::ops::ref {

void rotary(MatrixView<float> x, RotaryHeads heads, std::span<const std::int32_t> position,
            const RotaryRule& rule, Direction direction) {
    const index_t half = rule.rotary_dim / 2;
    const std::vector<double> frequencies = rotary_frequencies(rule);
    double size = 1.0;
    if (rule.scaling.stretch == RotaryStretch::yarn) {
        const auto sharpening = [&](double weight) {
            return 0.1 * weight * std::log(rule.scaling.factor) + 1.0;
        };
        size = sharpening(rule.scaling.mscale) / sharpening(rule.scaling.mscale_all_dims);
    }
    for (index_t t = 0; t < x.rows; ++t) {
        for (index_t head = 0; head < x.cols / heads.head_dim; ++head) {
            const index_t first_col = head * heads.head_dim + heads.first_dim;
            for (index_t i = 0; i < half; ++i) {
                double angle = static_cast<double>(position[static_cast<std::size_t>(t)]) *
                               frequencies[static_cast<std::size_t>(i)];
                if (direction == Direction::backward) angle = -angle;
                const bool interleaved = rule.pairs == RotaryPairs::interleaved;
                float& first = x(t, first_col + (interleaved ? 2 * i : i));
                float& second = x(t, first_col + (interleaved ? 2 * i + 1 : half + i));
                const double a = static_cast<double>(first);
                const double b = static_cast<double>(second);
                first = static_cast<float>(size * (a * std::cos(angle) - b * std::sin(angle)));
                second = static_cast<float>(size * (b * std::cos(angle) + a * std::sin(angle)));
            }
        }
    }
}

}  // namespace sy::ops::ref
