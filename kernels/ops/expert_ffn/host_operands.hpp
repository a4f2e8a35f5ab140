#pragma once

#include <span>

#include "kernels/core/host_view.hpp"
#include "kernels/ops/expert_ffn/expert_ffn.hpp"

/// Operands of experts as the host's bodies read them, and the plain reference. In {float, bf16}.
namespace sy::ops {

/// All empty: none.
struct HostExpertBiases {
    std::span<const float> gate;
    std::span<const float> up;
    std::span<const float> down;
};

template <class In>
struct HostExpertWeights {
    TensorView3<const In> gate;  ///< [L, H, F]; null data when not gated
    TensorView3<const In> up;    ///< [L, H, F]
    TensorView3<const In> down;  ///< [L, F, H]
    Activation activation = Activation::swiglu;
    HostExpertBiases biases = {};
};

/// @pre the sides fit (detail::check_operands)
template <class In>
HostExpertWeights<In> host_weights(const ExpertWeights& weights, index_t num_experts) {
    const index_t hidden = weights.down.cols();
    const index_t width = weights.up.cols();
    HostExpertWeights<In> views{
        .gate = {},
        .up = {host<const In>(weights.up).data, num_experts, hidden, width},
        .down = {host<const In>(weights.down).data, num_experts, width, hidden},
        .activation = weights.activation,
        .biases = {host_values<const float>(weights.biases.gate), host_values<const float>(weights.biases.up),
                   host_values<const float>(weights.biases.down)}};
    if (!weights.gate.is_null()) views.gate = {host<const In>(weights.gate).data, num_experts, hidden, width};
    return views;
}

/// Room for what is kept, or (of constants) what was kept; null data: nothing.
template <class T>
struct HostExpertSaved {
    MatrixView<T> gate;
    MatrixView<T> up;
};

template <class In>
struct HostExpertBackward {
    MatrixView<const In> dy;
    MatrixView<float> dx;
    std::span<float> dweight;  ///< empty without weights
    ExpertGradients gradients;
    std::function<void()> dx_ready = {};
};

namespace ref {
template <class In>
void expert_ffn(MatrixView<const In> x, const HostExpertWeights<In>& weights, const ExpertSlots& slots,
                MatrixView<float> out);
/// Recomputes the forward in double; adds into `gradients`.
template <class In>
void expert_ffn_backward(MatrixView<const In> x, const HostExpertWeights<In>& weights,
                         const ExpertSlots& slots, const HostExpertBackward<In>& backward);
}  // namespace ref

}  // namespace sy::ops
