#include "kernels/ops/heads/heads.hpp"

#include "kernels/cuda/cuda_bodies.hpp"
#include "kernels/cuda/launch.hpp"
#include "kernels/cuda/view.hpp"

namespace sy::ops {

void on_cuda::spread_heads(const HeadWidths& widths, ConstTensorRef expanded, ConstTensorRef rotary,
                           TensorRef k, TensorRef v, const Context& context) {
    const HeadWidths w = widths;
    const auto from = cuda::view<const float>(expanded);
    const auto shared = cuda::view<const float>(rotary);
    const auto keys = cuda::view<float>(k);
    const auto values = cuda::view<float>(v);
    const index_t key_width = w.key();
    const index_t pitch = w.plain + w.value;
    cuda::for_matrix(context, keys.rows, w.heads * key_width, [=] __device__(index_t t, index_t col) {
        const index_t i = col % key_width;
        keys(t, col) = i < w.plain ? from(t, col / key_width * pitch + i) : shared(t, i - w.plain);
    });
    cuda::for_matrix(context, values.rows, w.heads * w.value, [=] __device__(index_t t, index_t col) {
        values(t, col) = from(t, col / w.value * pitch + w.plain + col % w.value);
    });
}

void on_cuda::gather_heads(const HeadWidths& widths, ConstTensorRef dk, ConstTensorRef dv,
                           TensorRef dexpanded, TensorRef drotary, const Context& context) {
    const HeadWidths w = widths;
    const auto keys = cuda::view<const float>(dk);
    const auto values = cuda::view<const float>(dv);
    const auto to = cuda::view<float>(dexpanded);
    const auto shared = cuda::view<float>(drotary);
    const index_t key_width = w.key();
    const index_t pitch = w.plain + w.value;
    cuda::for_matrix(context, to.rows, w.heads * pitch, [=] __device__(index_t t, index_t col) {
        const index_t head = col / pitch;
        const index_t i = col % pitch;
        to(t, col) = i < w.plain ? keys(t, head * key_width + i) : values(t, head * w.value + i - w.plain);
    });
    cuda::for_matrix(context, shared.rows, shared.cols, [=] __device__(index_t t, index_t i) {
        float sum = 0.0F;
        for (index_t head = 0; head < w.heads; ++head) sum += keys(t, head * key_width + w.plain + i);
        shared(t, i) = sum;
    });
}

}  // namespace sy::ops
