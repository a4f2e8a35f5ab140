#include <algorithm>
#include <cmath>

#include "kernels/core/host_view.hpp"
#include "kernels/ops/pointwise/pointwise.hpp"

namespace sy::ops::ref {
namespace {

template <class Body>
void each(MatrixView<float> x, const Body& body) {
    for (index_t t = 0; t < x.rows; ++t)
        for (index_t n = 0; n < x.cols; ++n) x(t, n) = static_cast<float>(body(t, n));
}

}  // namespace

void clip(MatrixView<float> x, float limit) {
    each(x, [&](index_t t, index_t n) {
        return std::isnan(x(t, n)) ? x(t, n) : std::clamp(x(t, n), -limit, limit);
    });
}

void clip_backward(MatrixView<const float> y, float limit, MatrixView<float> gradient) {
    each(gradient, [&](index_t t, index_t n) { return std::abs(y(t, n)) >= limit ? 0.0F : gradient(t, n); });
}

void sigmoid(MatrixView<float> x) {
    each(x, [&](index_t t, index_t n) { return 1.0 / (1.0 + std::exp(-static_cast<double>(x(t, n)))); });
}

void sigmoid_backward(MatrixView<const float> y, MatrixView<float> gradient) {
    each(gradient, [&](index_t t, index_t n) {
        const auto value = static_cast<double>(y(t, n));
        return value * (1.0 - value) * static_cast<double>(gradient(t, n));
    });
}

}  // namespace sy::ops::ref
