#include "kernels/ops/cast/cast.hpp"

#include "kernels/cuda/cuda_bodies.hpp"
#include "kernels/cuda/launch.hpp"
#include "kernels/cuda/view.hpp"

namespace sy::ops {
namespace {

template <class From, class To>
void convert(cuda::Matrix<const From> x, cuda::Matrix<To> y, const Context& context) {
    cuda::for_matrix(context, x.rows, x.cols, [=] __device__(index_t t, index_t i) {
        y(t, i) = static_cast<To>(static_cast<float>(x(t, i)));
    });
}

}  // namespace

void on_cuda::cast(ConstTensorRef from, TensorRef to, const Context& context) {
    if (from.dtype() == DType::f32)
        convert(cuda::view<const float>(from), cuda::view<bf16>(to), context);
    else
        convert(cuda::view<const bf16>(from), cuda::view<float>(to), context);
}

}  // namespace sy::ops
