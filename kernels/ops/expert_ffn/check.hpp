#pragma once

#include "kernels/ops/expert_ffn/expert_ffn.hpp"

/// Whether operands of experts fit each other, before anything is written.
namespace sy::ops::detail {

/// @throws ShapeError when they do not
void check_forward(ConstTensorRef x, const ExpertWeights& weights, const ExpertSlots& slots,
                   const ExpertSaved& saved, ConstTensorRef out);

/// @throws ShapeError when they do not
void check_chosen(ConstTensorRef x, const ExpertWeights& weights, const ChosenExperts& chosen,
                  ConstTensorRef out);

/// @throws ShapeError when they do not; every expert and weight, and every bias, needs one gradient of its sides, and
/// where gradients are fixed point the blocks must divide the slots of every expert
void check_backward(ConstTensorRef x, const ExpertWeights& weights, const ExpertSlots& slots,
                    const ExpertKept& kept, const ExpertBackward& backward);

}  // namespace sy::ops::detail
