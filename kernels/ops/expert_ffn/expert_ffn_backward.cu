// First dh' = dy Wdown^T, the backward of the activation and dx; they leave h, dgate, dup and the gathered rows in memory.
// Then the gradients of the weights, expert after expert.
#include <algorithm>
#include <vector>

#include "kernels/cuda/cuda_bodies.hpp"
#include "kernels/cuda/lanes.hpp"
#include "kernels/cuda/team.hpp"
#include "kernels/cuda/view.hpp"
#include "kernels/ops/activation/nonlinearity.cuh"
#include "kernels/ops/bias/bias.hpp"
#include "kernels/ops/expert_ffn/expert_ffn.hpp"
#include "kernels/ops/expert_ffn/grouped.cuh"
#include "kernels/ops/gemm/product.cuh"

namespace sy::ops {
namespace {

template <class In>
struct ActivateBackward {
    cuda::Matrix<const In> gate;  ///< null data where the activation has no gate
    cuda::Matrix<const In> up;
    cuda::Matrix<const float> dh;
    const float* weight;  ///< null: all are 1
    cuda::Matrix<In> h;
    cuda::Matrix<In> dgate;
    cuda::Matrix<In> dup;
    float* dot;  ///< [S]; null: not wanted
    bool wide;
};

/// Neighbouring columns of a thread: sixteen bytes of dh.
using cuda::kLanes;

template <class F, class In>
void activate_backward(const ActivateBackward<In>& all, const Context& context) {
    const ActivateBackward<In> op = all;
    cuda::for_rows(context, op.up.rows, op.up.cols, [=] __device__(index_t s, const cuda::Team& team) {
        const float weight = op.weight == nullptr ? 1.0F : op.weight[s];
        float dot = 0.0F;
        const index_t cols = op.up.cols;
        for (index_t f = index_t{team.thread} * kLanes; f < cols; f += index_t{team.size} * kLanes) {
            const auto up = cuda::load<kLanes>(op.up.row(s), f, cols, op.wide);
            const auto dh = cuda::load<kLanes>(op.dh.row(s), f, cols, op.wide);
            cuda::Lanes<float, kLanes> h, dgate{}, dup;
            if (op.gate.data != nullptr) dgate = cuda::load<kLanes>(op.gate.row(s), f, cols, op.wide);
#pragma unroll
            for (int lane = 0; lane < kLanes; ++lane) {
                const float d = dh[lane] * weight;
                float activated = 0.0F;
                if (op.gate.data == nullptr) {
                    const on_gpu::Both both = F::both(up[lane]);
                    activated = both.value;
                    dup[lane] = d * both.slope;
                } else {
                    const on_gpu::Both both = F::both(dgate[lane]);
                    activated = both.value * up[lane];
                    dgate[lane] = d * up[lane] * both.slope;
                    dup[lane] = d * both.value;
                }
                if (f + lane < cols) dot += activated * dh[lane];
                h[lane] = activated * weight;
            }
            if (op.gate.data != nullptr) cuda::store<kLanes>(op.dgate.row(s), f, cols, op.wide, dgate);
            cuda::store<kLanes>(op.dup.row(s), f, cols, op.wide, dup);
            cuda::store<kLanes>(op.h.row(s), f, cols, op.wide, h);
        }
        if (op.dot == nullptr) return;
        dot = team.sum(dot);
        if (team.thread == 0) op.dot[s] = dot;
    });
}

/// Values by slot that the first part leaves for the gradients.
struct Intermediate {
    ConstTensorRef x;   ///< [S, H]
    ConstTensorRef dy;  ///< [S, H] unweighted
    Tensor h;           ///< [S, F] weighted activation
    Tensor dgate;       ///< [S, F]; without rows when not gated
    Tensor dup;         ///< [S, F]
};

/// Boundaries of the blocks of an expert's slots, from its first slot on.
std::vector<index_t> blocks_of(const ExpertSlots& slots, Range range) {
    std::vector<index_t> blocks;
    const auto first = std::ranges::lower_bound(slots.blocks, range.begin);
    const auto last = std::ranges::lower_bound(slots.blocks, range.end);
    for (auto block = first; block <= last; ++block) blocks.push_back(*block - range.begin);
    return blocks;
}

/// gradient of an expert += left^T right of its slots.
void add_experts(const ExpertSlots& slots, ConstTensorRef left, ConstTensorRef right,
                 std::span<const GradientRef> gradients, const Context& context) {
    std::vector<Product> in_floats;
    for (std::size_t expert = 0; expert < gradients.size(); ++expert) {
        const Range range = group_of(slots.offsets, static_cast<index_t>(expert));
        if (range.size() == 0) continue;
        const ConstTensorRef x = left.rows_of(range), dy = right.rows_of(range);
        const GradientRef& gradient = gradients[expert];
        if (gradient.is_fixed())
            on_gpu::add_weight_gradient(x, dy, blocks_of(slots, range), gradient, context);
        else
            in_floats.push_back(on_gpu::gradient_product(x, dy, gradient));
    }
    on_gpu::multiply_group(in_floats, context);
}

void add_biases(const ExpertWeights& weights, const ExpertSlots& slots, const Intermediate& between,
                const ExpertBiasGradients& gradients, const Context& context) {
    if (weights.biases.up.is_null()) return;
    const index_t all[] = {0, slots.num_slots()};
    const std::span<const index_t> blocks =
        slots.blocks.empty() ? std::span<const index_t>(all) : slots.blocks;
    if (is_gated(weights.activation)) ops::bias_backward(between.dgate, blocks, gradients.gate, context);
    ops::bias_backward(between.dup, blocks, gradients.up, context);
    ops::bias_backward(between.dy, blocks, gradients.down, context);
}

}  // namespace

void on_cuda::expert_ffn_backward(ConstTensorRef x, const ExpertWeights& weights, const ExpertSlots& slots,
                                  const ExpertKept& kept, const ExpertBackward& backward,
                                  const Context& context) {
    const index_t num_slots = slots.num_slots();
    if (num_slots == 0) {
        if (backward.dx_ready) backward.dx_ready();
        return;
    }
    const index_t width = weights.up.cols();
    const bool gated = is_gated(weights.activation);
    const DType dtype = x.dtype();
    const on_gpu::SlotRows x_rows(x, slots, context);
    const on_gpu::SlotRows dy_rows(backward.dy, slots, context);
    Intermediate between{x_rows.ref(), dy_rows.ref(), Tensor(context.device, dtype, {num_slots, width}),
                         Tensor(context.device, dtype, {gated ? num_slots : 0, width}),
                         Tensor(context.device, dtype, {num_slots, width})};
    {
        Tensor dh(context.device, DType::f32, {num_slots, width});
        on_gpu::multiply_experts(slots, between.dy, weights.down, Transpose::yes, dh, Write::overwrite,
                                 context);
        dispatch_dtype(dtype, [&]<class In>() {
            const ActivateBackward<In> op{
                cuda::view<const In>(kept.gate),
                cuda::view<const In>(kept.up),
                cuda::view<const float>(dh.ref()),
                cuda::values<const float>(slots.weight),
                cuda::view<In>(between.h.ref()),
                cuda::view<In>(between.dgate.ref()),
                cuda::view<In>(between.dup.ref()),
                cuda::values<float>(backward.dweight),
                cuda::are_wide<kLanes>(
                    {kept.gate, kept.up, dh.ref(), between.h.ref(), between.dgate.ref(), between.dup.ref()})};
            on_gpu::with_function(weights.activation,
                                  [&]<class F>() { activate_backward<F, In>(op, context); });
        });
    }
    if (gated)
        on_gpu::multiply_experts(slots, between.dgate, weights.gate, Transpose::yes, backward.dx,
                                 Write::overwrite, context);
    on_gpu::multiply_experts(slots, between.dup, weights.up, Transpose::yes, backward.dx,
                             gated ? Write::add : Write::overwrite, context);
    if (backward.dx_ready) backward.dx_ready();
    const ExpertGradients& gradients = backward.gradients;
    if (gated) add_experts(slots, between.x, between.dgate, gradients.gate, context);
    add_experts(slots, between.x, between.dup, gradients.up, context);
    add_experts(slots, between.h, between.dy, gradients.down, context);
    add_biases(weights, slots, between, gradients.biases, context);
}

}  // namespace sy::ops
