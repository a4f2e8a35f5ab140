#include "kernels/ops/copy/copy.hpp"

#include "kernels/cuda/cuda_bodies.hpp"
#include "kernels/cuda/launch.hpp"
#include "kernels/cuda/pieces.hpp"

namespace sy::ops {

void on_cuda::copy(ConstTensorRef from, TensorRef to, const Context& context) {
    context.device.copy(from, to, context.stream);
}

void on_cuda::fill(float value, TensorRef values, const Context& context) {
    const auto y = cuda::view<float>(values);
    cuda::for_matrix(context, y.rows, y.cols, [=] __device__(index_t t, index_t i) { y(t, i) = value; });
}

namespace {

template <class Piece>
void clear_rows(cuda::Matrix<Piece> rows, const Context& context) {
    cuda::for_matrix(context, rows.rows, rows.cols,
                     [=] __device__(index_t t, index_t i) { rows(t, i) = Piece{}; });
}

}  // namespace

void on_cuda::clear(TensorRef values, const Context& context) {
    if (values.is_contiguous()) {
        const index_t bytes = values.num_elements() * dtype_bytes(values.dtype());
        if (bytes == 0) return;
        SY_CUDA(cudaMemsetAsync(DeviceAccess::address(values), 0, static_cast<std::size_t>(bytes),
                                cuda::stream_of(context)));
        return;
    }
    cuda::with_pieces(cuda::widest_piece({values}),
                      [&]<class Piece>() { clear_rows<Piece>(cuda::pieces<Piece>(values), context); });
}

}  // namespace sy::ops
