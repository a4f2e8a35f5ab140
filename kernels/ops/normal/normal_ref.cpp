#include <cmath>
#include <numbers>

#include "kernels/ops/normal/normal.hpp"

namespace sy::ops::ref {

void normal_cdf(MatrixView<const float> x, MatrixView<float> y) {
    for (index_t t = 0; t < x.rows; ++t) {
        for (index_t e = 0; e < x.cols; ++e)
            y(t, e) =
                static_cast<float>(0.5 * std::erfc(-static_cast<double>(x(t, e)) / std::numbers::sqrt2));
    }
}

void normal_density(MatrixView<const float> x, MatrixView<float> y) {
    for (index_t t = 0; t < x.rows; ++t) {
        for (index_t e = 0; e < x.cols; ++e) {
            const auto value = static_cast<double>(x(t, e));
            y(t, e) = static_cast<float>(std::exp(-0.5 * value * value) / std::sqrt(2.0 * std::numbers::pi));
        }
    }
}

}  // namespace sy::ops::ref
