#include "kernels/ops/normal/normal.hpp"

#include <numbers>

#include "kernels/cuda/cuda_bodies.hpp"
#include "kernels/cuda/launch.hpp"
#include "kernels/cuda/view.hpp"

namespace sy::ops {

void on_cuda::normal_cdf(ConstTensorRef from, TensorRef to, const Context& context) {
    const auto x = cuda::view<const float>(from);
    const auto y = cuda::view<float>(to);
    constexpr float kInverseRoot = 1.0F / std::numbers::sqrt2_v<float>;
    cuda::for_matrix(context, x.rows, x.cols, [=] __device__(index_t t, index_t i) {
        y(t, i) = 0.5F + 0.5F * erff(x(t, i) * kInverseRoot);
    });
}

void on_cuda::normal_density(ConstTensorRef from, TensorRef to, const Context& context) {
    const auto x = cuda::view<const float>(from);
    const auto y = cuda::view<float>(to);
    constexpr float kHeight = std::numbers::inv_sqrtpi_v<float> / std::numbers::sqrt2_v<float>;
    cuda::for_matrix(context, x.rows, x.cols, [=] __device__(index_t t, index_t i) {
        const float value = x(t, i);
        y(t, i) = kHeight * expf(value * value * -0.5F);
    });
}

}  // namespace sy::ops
