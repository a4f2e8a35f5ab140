#include "kernels/ops/dropout/dropout.hpp"

namespace sy::ops::ref {

void dropout(MatrixView<const float> x, const RandomKey& key, index_t first_row, float probability,
             MatrixView<float> y) {
    for (index_t t = 0; t < x.rows; ++t) {
        for (index_t h = 0; h < x.cols; ++h) {
            const auto element = static_cast<std::uint64_t>((first_row + t) * x.cols + h);
            const double kept = static_cast<double>(x(t, h)) / (1.0 - static_cast<double>(probability));
            y(t, h) = uniform(key, element) < probability ? 0.0F : static_cast<float>(kept);
        }
    }
}

}  // namespace sy::ops::ref
