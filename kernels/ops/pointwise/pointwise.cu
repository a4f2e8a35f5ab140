#include "kernels/ops/pointwise/pointwise.hpp"

#include "kernels/cuda/cuda_bodies.hpp"
#include "kernels/cuda/launch.hpp"
#include "kernels/cuda/view.hpp"
#include "kernels/ops/activation/nonlinearity.cuh"

namespace sy::ops {

void on_cuda::clip(TensorRef in_place, float limit, const Context& context) {
    const auto x = cuda::view<float>(in_place);
    cuda::for_matrix(context, x.rows, x.cols, [=] __device__(index_t t, index_t i) {
        // A value that is no number is the second operand both times, and passes.
        const float above = -limit > x(t, i) ? -limit : x(t, i);
        x(t, i) = limit < above ? limit : above;
    });
}

void on_cuda::clip_backward(ConstTensorRef clipped, float limit, TensorRef in_place, const Context& context) {
    const auto y = cuda::view<const float>(clipped);
    const auto gradient = cuda::view<float>(in_place);
    cuda::for_matrix(context, y.rows, y.cols, [=] __device__(index_t t, index_t i) {
        if (fabsf(y(t, i)) >= limit) gradient(t, i) = 0.0F;
    });
}

void on_cuda::sigmoid(TensorRef in_place, const Context& context) {
    const auto x = cuda::view<float>(in_place);
    cuda::for_matrix(context, x.rows, x.cols,
                     [=] __device__(index_t t, index_t i) { x(t, i) = on_gpu::sigmoid(x(t, i)); });
}

void on_cuda::sigmoid_backward(ConstTensorRef left, TensorRef in_place, const Context& context) {
    const auto y = cuda::view<const float>(left);
    const auto gradient = cuda::view<float>(in_place);
    cuda::for_matrix(context, y.rows, y.cols, [=] __device__(index_t t, index_t i) {
        const float value = y(t, i);
        gradient(t, i) = value * (1.0F - value) * gradient(t, i);
    });
}

namespace {

template <class F>
void apply(cuda::Matrix<const float> x, cuda::Matrix<float> y, const Context& context) {
    cuda::for_matrix(context, x.rows, x.cols,
                     [=] __device__(index_t t, index_t i) { y(t, i) = F::value(x(t, i)); });
}

template <class F>
void apply_backward(const NonlinearityBackward& in, const Context& context) {
    const auto x = cuda::view<const float>(in.x);
    const auto dy = cuda::view<const float>(in.dy);
    const auto y = cuda::view<float>(in.y);
    const auto dx = cuda::view<float>(in.dx);
    cuda::for_matrix(context, x.rows, x.cols, [=] __device__(index_t t, index_t i) {
        const on_gpu::Both f = F::both(x(t, i));
        const float slope = dy(t, i) * f.slope;
        y(t, i) = f.value;
        dx(t, i) = slope;
    });
}

}  // namespace

void on_cuda::nonlinearity(Activation kind, ConstTensorRef x, TensorRef y, const Context& context) {
    on_gpu::with_function(
        kind, [&]<class F>() { apply<F>(cuda::view<const float>(x), cuda::view<float>(y), context); });
}

void on_cuda::nonlinearity_backward(Activation kind, const NonlinearityBackward& in, const Context& context) {
    on_gpu::with_function(kind, [&]<class F>() { apply_backward<F>(in, context); });
}

}  // namespace sy::ops
