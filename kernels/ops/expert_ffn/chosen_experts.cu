// A block takes some columns of an expert and finds the choices of that expert among all, so that what it has read of the
// matrix serves several of them. Sums have the order of product.cu, so that a token has the bits that expert_ffn gives it.
#include "kernels/core/tensor.hpp"
#include "kernels/cuda/cuda_bodies.hpp"
#include "kernels/cuda/lanes.hpp"
#include "kernels/cuda/launch.hpp"
#include "kernels/ops/expert_ffn/activate.cuh"
#include "kernels/ops/expert_ffn/expert_ffn.hpp"

namespace sy::ops {
namespace {

/// A block computes so many columns of an expert, each thread one, for so many choices at a time; so much of the summed
/// dimension is in shared memory at a time.
constexpr int kChosenCols = 128;
constexpr int kTogether = 8;
constexpr int kChosenDepth = 512;

/// c[s] = a[s / choices] W(expert[s]), zeros where there is no expert.
template <class In>
struct ChosenProduct {
    cuda::Matrix<const In> a;
    index_t choices;  ///< that share a row of a
    const In* weight;
    index_t experts;
    const std::int32_t* expert;
    cuda::Matrix<float> c;
};

/// Rows of a for some choices of an expert, a part of the summed dimension at a time; those of one k are neighbours.
using ChosenRows = cuda::Array<float, std::size_t{kChosenDepth} * kTogether>;

/// c[choice[j]][n] for j < together, or for as many of these as there are.
/// @param rows    shared memory
/// @param choice  in shared memory, `count` of them
template <int together, class In>
__device__ void multiply_together(const ChosenProduct<In>& op, index_t expert, index_t n,
                                  const std::int32_t* choice, int count, ChosenRows& rows) {
    const index_t num_k = op.a.cols;
    const index_t num_n = op.c.cols;
    float sum[static_cast<std::size_t>(together)] = {};
    for (index_t first = 0; first < num_k; first += kChosenDepth) {
        const int depth = num_k - first < kChosenDepth ? static_cast<int>(num_k - first) : kChosenDepth;
        for (int j = 0; j < together; ++j) {
            const In* const row = j < count ? op.a.row(choice[j] / op.choices) + first : nullptr;
            for (int i = static_cast<int>(threadIdx.x); i < depth; i += kChosenCols)
                rows[i * together + j] = row != nullptr ? static_cast<float>(row[i]) : 0.0F;
        }
        __syncthreads();
        if (n < num_n) {
            const In* const column = op.weight + (expert * num_k + first) * num_n + n;
#pragma unroll 4
            for (int i = 0; i < depth; ++i) {
                const float factor = static_cast<float>(column[i * num_n]);
#pragma unroll
                for (int j = 0; j < together; ++j) sum[j] = fmaf(rows[i * together + j], factor, sum[j]);
            }
        }
        __syncthreads();
    }
#pragma unroll
    for (int j = 0; j < together; ++j) {
        if (j < count && n < num_n) op.c(choice[j], n) = sum[j];
    }
}

/// An item is some columns of an expert, or behind all experts of those choices that have none.
template <class In>
__global__ void __launch_bounds__(kChosenCols) chosen_product_kernel(ChosenProduct<In> op) {
    SY_SHARED(rows, ChosenRows);
    SY_SHARED(matches, cuda::Array<bool, kChosenCols>);
    SY_SHARED(choice, cuda::Array<std::int32_t, kChosenCols>);
    const int thread = static_cast<int>(threadIdx.x);
    const index_t pieces = (op.c.cols + kChosenCols - 1) / kChosenCols;
    for (index_t item = blockIdx.x; item < (op.experts + 1) * pieces; item += gridDim.x) {
        const index_t expert = item / pieces;
        const index_t n = item % pieces * kChosenCols + thread;
        for (index_t base = 0; base < op.c.rows; base += kChosenCols) {
            const index_t s = base + thread;
            const index_t chosen = s < op.c.rows ? index_t{op.expert[s]} : op.experts + 1;
            matches[thread] = chosen == expert || (chosen < 0 && expert == op.experts);
            __syncthreads();
            int count = 0;
            for (int i = 0; i < kChosenCols && base + i < op.c.rows; ++i) {
                if (!matches[i]) continue;
                if (thread == 0) choice[count] = static_cast<std::int32_t>(base) + i;
                ++count;
            }
            __syncthreads();
            for (int first = 0; first < count; first += kTogether) {
                const int left = count - first;
                if (expert == op.experts) {
                    for (int j = 0; j < left && j < kTogether && n < op.c.cols; ++j)
                        op.c(choice[first + j], n) = 0.0F;
                } else if (left == 1) {
                    multiply_together<1>(op, expert, n, choice + first, 1, rows);
                } else {
                    multiply_together<kTogether>(op, expert, n, choice + first, left, rows);
                }
            }
            __syncthreads();
        }
    }
}

template <class In>
void multiply_chosen(ConstTensorRef a, index_t choices, ConstTensorRef weight, ConstTensorRef expert,
                     TensorRef c, const Context& context) {
    const index_t experts = weight.rows() / a.cols();
    const ChosenProduct<In> op{cuda::view<const In>(a),
                               choices,
                               cuda::values<const In>(weight),
                               experts,
                               cuda::values<const std::int32_t>(expert),
                               cuda::view<float>(c)};
    const index_t blocks = (experts + 1) * ceil_div(c.cols(), kChosenCols);
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
