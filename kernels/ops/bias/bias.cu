#include "kernels/ops/bias/bias.hpp"

#include "kernels/cuda/cuda_bodies.hpp"
#include "kernels/cuda/gradient.hpp"
#include "kernels/cuda/host_list.hpp"

namespace sy::ops {

void on_cuda::add_bias(ConstTensorRef x_ref, ConstTensorRef bias_ref, TensorRef y_ref,
                       const Context& context) {
    const auto x = cuda::view<const float>(x_ref);
    const float* const bias = cuda::values<const float>(bias_ref);
    const auto y = cuda::view<float>(y_ref);
    cuda::for_matrix(context, y.rows, y.cols,
                     [=] __device__(index_t t, index_t i) { y(t, i) = x(t, i) + bias[i]; });
}

namespace {

/// sums[b] = the rows of block b, added up in order.
template <class In>
void sum_blocks(cuda::Matrix<const In> dy, const index_t* blocks, cuda::Matrix<float> sums,
                const Context& context) {
    cuda::for_matrix(context, sums.rows, sums.cols, [=] __device__(index_t block, index_t i) {
        float sum = 0.0F;
        for (index_t t = blocks[block]; t < blocks[block + 1]; ++t) sum += static_cast<float>(dy(t, i));
        sums(block, i) = sum;
    });
}

}  // namespace

void on_cuda::bias_backward(ConstTensorRef dy, std::span<const index_t> blocks, GradientRef gradient,
                            const Context& context) {
    if (blocks.size() < 2) return;
    const cuda::HostList<index_t> list(blocks, context);
    Tensor sums(context.device, DType::f32, {static_cast<index_t>(blocks.size()) - 1, dy.cols()});
    dispatch_dtype(dy.dtype(), [&]<class In>() {
        sum_blocks<In>(cuda::view<const In>(dy), list.data(), cuda::view<float>(sums.ref()), context);
    });
    cuda::add_blocks(cuda::view<const float>(sums.ref()), cuda::Gradient(gradient), context);
}

}  // namespace sy::ops
