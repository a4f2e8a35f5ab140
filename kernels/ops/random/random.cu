#include "kernels/ops/random/random.hpp"

#include "kernels/cuda/cuda_bodies.hpp"
#include "kernels/cuda/launch.hpp"
#include "kernels/cuda/view.hpp"

namespace sy::ops {

void on_cuda::fill_normal(const RandomKey& key, index_t first, float deviation, TensorRef values,
                          const Context& context) {
    float* const elements = cuda::values<float>(values);
    const RandomKey stream = key;
    cuda::for_elements(context, values.num_elements(), [=] __device__(index_t i) {
        elements[i] = deviation * normal(stream, static_cast<std::uint64_t>(first + i));
    });
}

void on_cuda::fill_gumbel(const RandomKey& key, index_t first, float scale, TensorRef values,
                          const Context& context) {
    float* const elements = cuda::values<float>(values);
    const RandomKey stream = key;
    cuda::for_elements(context, values.num_elements(), [=] __device__(index_t i) {
        const auto element = static_cast<std::uint64_t>(first + i);
        elements[i] = scale * static_cast<float>(gumbel_from(philox(stream, element / 4)[element % 4]));
    });
}

void on_cuda::jitter(ConstTensorRef x, const RandomKey& key, index_t first_token, float eps, TensorRef y,
                     const Context& context) {
    const auto x_th = cuda::view<const float>(x);
    const auto y_th = cuda::view<float>(y);
    const RandomKey stream = key;
    cuda::for_matrix(context, x_th.rows, x_th.cols, [=] __device__(index_t t, index_t h) {
        const float u = uniform(stream, static_cast<std::uint64_t>((first_token + t) * x_th.cols + h));
        y_th(t, h) = x_th(t, h) * (1.0F + eps * (2.0F * u - 1.0F));
    });
}

}  // namespace sy::ops
