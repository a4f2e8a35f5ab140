#include <cmath>

#include "kernels/ops/softcap/softcap.hpp"

namespace sy::ops::ref {

void soft_cap(MatrixView<const float> x, float cap, MatrixView<float> y) {
    const auto limit = static_cast<double>(cap);
    for (index_t t = 0; t < x.rows; ++t) {
        for (index_t v = 0; v < x.cols; ++v)
            y(t, v) = static_cast<float>(limit * std::tanh(static_cast<double>(x(t, v)) / limit));
    }
}

void soft_cap_backward(MatrixView<const float> x, float cap, MatrixView<float> gradient) {
    for (index_t t = 0; t < x.rows; ++t) {
        for (index_t v = 0; v < x.cols; ++v) {
            const double cosh = std::cosh(static_cast<double>(x(t, v)) / static_cast<double>(cap));
            gradient(t, v) = static_cast<float>(static_cast<double>(gradient(t, v)) / (cosh * cosh));
        }
    }
}

}  // namespace sy::ops::ref
