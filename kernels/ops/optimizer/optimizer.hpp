#pragma once

#include "kernels/core/context.hpp"
#include "kernels/core/tensor_ref.hpp"

namespace sy::ops {

/// Constants of one AdamW step, the same for all parameters of a group.
struct AdamwStep {
    float lr = 0.0F;
    float beta1 = 0.9F;
    float beta2 = 0.95F;
    float eps = 1e-8F;
    float weight_decay = 0.0F;
    float gradient_scale = 1.0F;  ///< clip factor, applied to the gradient as it is read
    index_t step = 1;             ///< 1-based, for the bias corrections
};

/// m = b1 m + (1-b1) g; v = b2 v + (1-b2) g^2; w -= lr (m^/(sqrt(v^)+eps) + weight_decay w), in one pass of
/// 28 bytes a parameter. Elementwise: the same bits however the parameters are cut into pieces.
/// @param weight, m, v  [N] f32
/// @param gradient      [N] f32, zeroed in the same pass, ready for the next step's sums
/// @param working       [N] bf16 copy for the products, written in the same pass; null when there is none
/// @par Source  Loshchilov and Hutter, arXiv:1711.05101; same arithmetic as torch.optim.AdamW
struct AdamwOperands {
    TensorRef weight;
    TensorRef m;
    TensorRef v;
    TensorRef gradient;
    TensorRef working{};
};
/// @throws ShapeError when sizes differ
void adamw(const AdamwOperands& operands, const AdamwStep& step, const Context& context);

namespace ref {
void adamw(const AdamwOperands& operands, const AdamwStep& step);
}  // namespace ref

}  // namespace sy::ops
