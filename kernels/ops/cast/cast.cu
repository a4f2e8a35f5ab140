#include "kernels/ops/cast/cast.hpp"

#include "kernels/cuda/cuda_bodies.hpp"
#include "kernels/cuda/lanes.hpp"
#include "kernels/cuda/launch.hpp"

namespace sy::ops {
namespace {

/// Eight values a thread: sixteen bytes of bf16.
template <class From, class To>
void cast_lanes(ConstTensorRef from, TensorRef to, const Context& context) {
    constexpr int kLanes = 8;
    const auto x = cuda::view<const From>(from);
    const auto y = cuda::view<To>(to);
    const bool wide = cuda::are_wide<kLanes>({from, to});
    cuda::for_matrix(context, x.rows, ceil_div(x.cols, kLanes), [=] __device__(index_t t, index_t group) {
        const index_t i = group * kLanes;
        cuda::store<kLanes>(y.row(t), i, y.cols, wide, cuda::load<kLanes>(x.row(t), i, x.cols, wide));
    });
}

}  // namespace

void on_cuda::cast(ConstTensorRef from, TensorRef to, const Context& context) {
    if (from.dtype() == DType::f32)
        cast_lanes<float, bf16>(from, to, context);
    else
        cast_lanes<bf16, float>(from, to, context);
}

}  // namespace sy::ops
