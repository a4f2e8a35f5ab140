// Groups of products, one an expert, and between them one kernel for the slots of all experts.
#include "kernels/ops/expert_ffn/expert_ffn.hpp"

#include "kernels/core/offsets.hpp"
#include "kernels/core/tensor.hpp"
#include "kernels/cuda/cuda_bodies.hpp"
#include "kernels/cuda/lanes.hpp"
#include "kernels/cuda/launch.hpp"
#include "kernels/ops/activation/nonlinearity.cuh"
#include "kernels/ops/bias/bias.hpp"
#include "kernels/ops/expert_ffn/activate.cuh"
#include "kernels/ops/expert_ffn/grouped.cuh"

namespace sy::ops {
namespace {

/// Neighbouring columns of a thread: sixteen bytes of the projections.
using cuda::kLanes;

/// Projections of a row from column `first` on, with their bias, which are kept where there is room for them.
template <class In>
__device__ cuda::Lanes<float, kLanes> project(const cuda::Matrix<const float>& x, const float* bias,
                                              const cuda::Matrix<In>& kept, index_t s, index_t first,
                                              bool wide) {
    auto lanes = cuda::load<kLanes>(x.row(s), first, x.cols, wide);
    if (bias != nullptr) {
        const auto addends = cuda::load<kLanes>(bias, first, x.cols, wide);
#pragma unroll
        for (int lane = 0; lane < kLanes; ++lane) lanes[lane] += addends[lane];
    }
    if (kept.data != nullptr) cuda::store<kLanes>(kept.row(s), first, x.cols, wide, lanes);
    return lanes;
}

template <class F, class In>
void activate(const on_gpu::Activate<In>& all, const Context& context) {
    const on_gpu::Activate<In> op = all;
    cuda::for_matrix(
        context, op.up.rows, ceil_div(op.up.cols, kLanes), [=] __device__(index_t s, index_t group) {
            const index_t first = group * kLanes;
            const auto up = project(op.up, op.up_bias, op.kept_up, s, first, op.wide);
            cuda::Lanes<float, kLanes> gate{};
            if (op.gate.data != nullptr)
                gate = project(op.gate, op.gate_bias, op.kept_gate, s, first, op.wide);
            const float weight = op.weight == nullptr ? 1.0F : op.weight[s];
            cuda::Lanes<float, kLanes> h;
#pragma unroll
            for (int lane = 0; lane < kLanes; ++lane) {
                const float value =
                    op.gate.data == nullptr ? F::value(up[lane]) : F::value(gate[lane]) * up[lane];
                h[lane] = value * weight;
            }
            cuda::store<kLanes>(op.h.row(s), first, op.up.cols, op.wide, h);
        });
}

template <class In>
void activate_by(Activation kind, const on_gpu::Activate<In>& op, const Context& context) {
    on_gpu::with_function(kind, [&]<class F>() { activate<F, In>(op, context); });
}

}  // namespace

void on_gpu::activate_slots(Activation kind, const Activate<float>& op, const Context& context) {
    activate_by(kind, op, context);
}

void on_gpu::activate_slots(Activation kind, const Activate<bf16>& op, const Context& context) {
    activate_by(kind, op, context);
}

void on_cuda::expert_ffn(ConstTensorRef x, const ExpertWeights& weights, const ExpertSlots& slots,
                         const ExpertSaved& saved, TensorRef out, const Context& context) {
    const index_t num_slots = slots.num_slots();
    if (num_slots == 0) return;
    const index_t width = weights.up.cols();
    const bool gated = is_gated(weights.activation);
    const on_gpu::SlotRows rows(x, slots, context);
    Tensor gate(context.device, DType::f32, {gated ? num_slots : 0, width});
    Tensor up(context.device, DType::f32, {num_slots, width});
    Tensor h(context.device, x.dtype(), {num_slots, width});
    if (gated)
        on_gpu::multiply_experts(slots, rows.ref(), weights.gate, Transpose::no, gate, Write::overwrite,
                                 context);
    on_gpu::multiply_experts(slots, rows.ref(), weights.up, Transpose::no, up, Write::overwrite, context);
    dispatch_dtype(x.dtype(), [&]<class In>() {
        const on_gpu::Activate<In> op{
            gated ? cuda::view<const float>(gate.ref()) : cuda::Matrix<const float>{},
            cuda::view<const float>(up.ref()),
            cuda::values<const float>(weights.biases.gate),
            cuda::values<const float>(weights.biases.up),
            cuda::values<const float>(slots.weight),
            cuda::view<In>(h.ref()),
            cuda::view<In>(saved.gate),
            cuda::view<In>(saved.up),
            cuda::are_wide<kLanes>({gate.ref(), up.ref(), weights.biases.gate, weights.biases.up, h.ref(),
                                    saved.gate, saved.up})};
        on_gpu::activate_slots(weights.activation, op, context);
    });
    on_gpu::multiply_experts(slots, h, weights.down, Transpose::no, out, Write::overwrite, context);
    if (!weights.biases.down.is_null()) ops::add_bias(weights.biases.down, out, context);
}

}  // namespace sy::ops
