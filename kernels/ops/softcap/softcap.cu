#include "kernels/ops/softcap/softcap.hpp"

#include "kernels/cuda/cuda_bodies.hpp"
#include "kernels/cuda/launch.hpp"
#include "kernels/cuda/view.hpp"

namespace sy::ops {

void on_cuda::soft_cap(ConstTensorRef from, float cap, TensorRef to, const Context& context) {
    const auto x = cuda::view<const float>(from);
    const auto y = cuda::view<float>(to);
    const float inverse = 1.0F / cap;
    cuda::for_matrix(context, x.rows, x.cols,
                     [=] __device__(index_t t, index_t i) { y(t, i) = tanhf(x(t, i) * inverse) * cap; });
}

void on_cuda::soft_cap_backward(ConstTensorRef from, float cap, TensorRef in_place, const Context& context) {
    const auto x = cuda::view<const float>(from);
    const auto gradient = cuda::view<float>(in_place);
    // 1 - tanh^2 is a difference of nearly equal numbers where the cap bites; 4 e / (1 + e)^2 with e = e^-2|x/cap| is not.
    const float twice = -2.0F / cap;
    cuda::for_matrix(context, x.rows, x.cols, [=] __device__(index_t t, index_t i) {
        const float power = expf(-fabsf(x(t, i) * twice));
        const float sum = power + 1.0F;
        gradient(t, i) *= 4.0F * power / (sum * sum);
    });
}

}  // namespace sy::ops
