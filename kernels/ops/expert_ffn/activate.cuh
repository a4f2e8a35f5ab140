#pragma once

#include "kernels/core/context.hpp"
#include "kernels/cuda/view.hpp"
#include "kernels/ops/activation/kind.hpp"

/// What stands between the products of experts on a GPU.
namespace sy::ops::on_gpu {

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
    bool wide;
};

/// Queues it for all slots. Defined beside expert_ffn, whose kernels it starts.
void activate_slots(Activation kind, const Activate<float>& op, const Context& context);
void activate_slots(Activation kind, const Activate<bf16>& op, const Context& context);

}  // namespace sy::ops::on_gpu
