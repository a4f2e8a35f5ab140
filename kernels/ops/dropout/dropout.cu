#include "kernels/ops/dropout/dropout.hpp"

#include "kernels/cuda/cuda_bodies.hpp"
#include "kernels/cuda/host_list.hpp"
#include "kernels/cuda/launch.hpp"
#include "kernels/cuda/view.hpp"
#include "kernels/ops/dropout/keep.cuh"

namespace sy::ops {

void on_cuda::dropout(ConstTensorRef from, const RandomKey& key, index_t first_row, float probability,
                      TensorRef to, const Context& context) {
    const auto x = cuda::view<const float>(from);
    const auto y = cuda::view<float>(to);
    if (probability == 0.0F) {
        if (x.data != y.data) context.device.copy(from, to, context.stream);
        return;
    }
    const RandomKey stream = key;
    const detail::KeepRule rule = detail::keep_rule(probability);
    cuda::for_matrix(context, x.rows, x.cols, [=] __device__(index_t t, index_t i) {
        y(t, i) = x(t, i) * on_gpu::keep_factor(rule, stream, (first_row + t) * x.cols + i);
    });
}

namespace {

template <class In>
void drop_rows(const DropoutRows& rows, cuda::Matrix<const In> x, cuda::Matrix<In> y,
               const Context& context) {
    const cuda::HostList<index_t> stream_rows(rows.stream_row, context);
    const cuda::HostList<std::int32_t> sources(rows.source, context);
    const index_t* const stream_row = stream_rows.data();
    const std::int32_t* const source = sources.data();
    const RandomKey stream = rows.key;
    const detail::KeepRule rule = detail::keep_rule(rows.probability);
    cuda::for_matrix(context, y.rows, y.cols, [=] __device__(index_t i, index_t h) {
        const float factor = on_gpu::keep_factor(rule, stream, stream_row[i] * y.cols + h);
        const index_t from = source == nullptr ? i : source[i];
        y(i, h) = static_cast<In>(static_cast<float>(x(from, h)) * factor);
    });
}

}  // namespace

void on_cuda::dropout_rows(ConstTensorRef x, const DropoutRows& rows, TensorRef y, const Context& context) {
    dispatch_dtype(x.dtype(), [&]<class In>() {
        drop_rows<In>(rows, cuda::view<const In>(x), cuda::view<In>(y), context);
    });
}

}  // namespace sy::ops
