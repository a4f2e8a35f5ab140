// A choice at a time, whose expert the kernels read: of few tokens hardly two share an expert, and what those that do read
// twice is in the cache. Sums have the order of product.cu, so that a token has the bits that expert_ffn gives it there.
#include "kernels/core/tensor.hpp"
#include "kernels/cuda/cuda_bodies.hpp"
#include "kernels/cuda/lanes.hpp"
#include "kernels/cuda/launch.hpp"
#include "kernels/ops/expert_ffn/activate.cuh"
#include "kernels/ops/expert_ffn/expert_ffn.hpp"

namespace sy::ops {
namespace {

/// A block computes so many columns of a choice, each thread one; so much of the summed dimension is in shared memory at a
/// time.
constexpr int kChosenCols = 128;
constexpr int kChosenDepth = 512;

/// c[s] = a[s / choices] W(expert[s]), zeros where there is no expert.
template <class In>
struct ChosenProduct {
    cuda::Matrix<const In> a;
    index_t choices;  ///< that share a row of a
    const In* weight;
    const std::int32_t* expert;
    cuda::Matrix<float> c;
};

template <class In>
__global__ void __launch_bounds__(kChosenCols) chosen_product_kernel(ChosenProduct<In> op) {
    SY_SHARED(factors, cuda::Array<float, kChosenDepth>);
    const index_t num_k = op.a.cols;
    const index_t num_n = op.c.cols;
    const index_t pieces = (num_n + kChosenCols - 1) / kChosenCols;
    for (index_t item = blockIdx.x; item < op.c.rows * pieces; item += gridDim.x) {
        const index_t s = item / pieces;
        const index_t n = item % pieces * kChosenCols + threadIdx.x;
        const std::int32_t expert = op.expert[s];
        const In* const row = op.a.row(s / op.choices);
        float sum = 0.0F;
        for (index_t first = 0; expert >= 0 && first < num_k; first += kChosenDepth) {
            const int depth = num_k - first < kChosenDepth ? static_cast<int>(num_k - first) : kChosenDepth;
            for (int i = static_cast<int>(threadIdx.x); i < depth; i += kChosenCols)
                factors[i] = static_cast<float>(row[first + i]);
            __syncthreads();
            if (n < num_n) {
                const In* const column = op.weight + (expert * num_k + first) * num_n + n;
#pragma unroll 8
                for (int i = 0; i < depth; ++i)
                    sum = fmaf(factors[i], static_cast<float>(column[i * num_n]), sum);
            }
            __syncthreads();
        }
        if (n < num_n) op.c(s, n) = sum;
    }
}

template <class In>
void multiply_chosen(ConstTensorRef a, index_t choices, ConstTensorRef weight, ConstTensorRef expert,
                     TensorRef c, const Context& context) {
    const ChosenProduct<In> op{cuda::view<const In>(a), choices, cuda::values<const In>(weight),
                               cuda::values<const std::int32_t>(expert), cuda::view<float>(c)};
    const index_t blocks = c.rows() * ceil_div(c.cols(), kChosenCols);
    cuda::launch(context, {cuda::num_blocks(blocks, 1), kChosenCols}, chosen_product_kernel<In>, op);
}

}  // namespace

void on_cuda::chosen_expert_ffn(ConstTensorRef x, const ExpertWeights& weights, const ChosenExperts& chosen,
                                TensorRef out, const Context& context) {
    const bool gated = is_gated(weights.activation);
    const index_t choices = chosen.expert.cols();
    const index_t width = weights.up.cols();
    Tensor gate(context.device, DType::f32, {gated ? out.rows() : 0, width});
    Tensor up(context.device, DType::f32, {out.rows(), width});
    Tensor h(context.device, x.dtype(), {out.rows(), width});
    dispatch_dtype(x.dtype(), [&]<class In>() {
        const auto multiply_rows = [&](ConstTensorRef weight, TensorRef c) {
            multiply_chosen<In>(x, choices, weight, chosen.expert, c, context);
        };
        if (gated) multiply_rows(weights.gate, gate);
        multiply_rows(weights.up, up);
        const on_gpu::Activate<In> op{
            gated ? cuda::view<const float>(gate.ref()) : cuda::Matrix<const float>{},
            cuda::view<const float>(up.ref()),
            nullptr,
            nullptr,
            cuda::values<const float>(chosen.weight),
            cuda::view<In>(h.ref()),
            {},
            {},
            cuda::are_wide<cuda::kLanes>({gate.ref(), up.ref(), h.ref()})};
        on_gpu::activate_slots(weights.activation, op, context);
        multiply_chosen<In>(h, 1, weights.down, chosen.expert, out, context);
    });
}

}  // namespace sy::ops
