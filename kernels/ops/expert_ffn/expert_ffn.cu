// Products expert after expert on the stream, and between them one kernel for the slots of all experts.
#include "kernels/ops/expert_ffn/expert_ffn.hpp"

#include "kernels/core/offsets.hpp"
#include "kernels/core/tensor.hpp"
#include "kernels/cuda/cuda_bodies.hpp"
#include "kernels/cuda/launch.hpp"
#include "kernels/cuda/view.hpp"
#include "kernels/ops/activation/nonlinearity.cuh"
#include "kernels/ops/bias/bias.hpp"
#include "kernels/ops/expert_ffn/grouped.cuh"

namespace sy::ops {
namespace {

/// h = weight * f(gate) * up, or weight * f(up), of projections to which a bias is added first.
template <class In>
struct Activate {
    cuda::Matrix<const float> gate;  ///< null data where the activation has no gate
    cuda::Matrix<const float> up;
    const float* gate_bias;  ///< null: none
    const float* up_bias;
    const float* weight;  ///< null: all are 1
    cuda::Matrix<In> h;
    cuda::Matrix<In> kept_gate;  ///< null data: nothing is kept
    cuda::Matrix<In> kept_up;
};

template <class F, class In>
void activate(const Activate<In>& all, const Context& context) {
    const Activate<In> op = all;
    cuda::for_matrix(context, op.up.rows, op.up.cols, [=] __device__(index_t s, index_t f) {
        const float up = op.up_bias == nullptr ? op.up(s, f) : op.up(s, f) + op.up_bias[f];
        if (op.kept_up.data != nullptr) op.kept_up(s, f) = static_cast<In>(up);
        float value = up;
        if (op.gate.data == nullptr) {
            value = F::value(up);
        } else {
            const float gate = op.gate_bias == nullptr ? op.gate(s, f) : op.gate(s, f) + op.gate_bias[f];
            if (op.kept_gate.data != nullptr) op.kept_gate(s, f) = static_cast<In>(gate);
            value = F::value(gate) * up;
        }
        op.h(s, f) = static_cast<In>(op.weight == nullptr ? value : value * op.weight[s]);
    });
}

}  // namespace

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
        const Activate<In> op{gated ? cuda::view<const float>(gate.ref()) : cuda::Matrix<const float>{},
                              cuda::view<const float>(up.ref()),
                              cuda::values<const float>(weights.biases.gate),
                              cuda::values<const float>(weights.biases.up),
                              cuda::values<const float>(slots.weight),
                              cuda::view<In>(h.ref()),
                              cuda::view<In>(saved.gate),
                              cuda::view<In>(saved.up)};
        on_gpu::with_function(weights.activation, [&]<class F>() { activate<F, In>(op, context); });
    });
    on_gpu::multiply_experts(slots, h, weights.down, Transpose::no, out, Write::overwrite, context);
    if (!weights.biases.down.is_null()) ops::add_bias(weights.biases.down, out, context);
}

}  // namespace sy::ops
