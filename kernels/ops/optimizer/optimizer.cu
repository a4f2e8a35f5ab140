#include "kernels/ops/optimizer/optimizer.hpp"

#include <cmath>

#include "kernels/cuda/cuda_bodies.hpp"
#include "kernels/cuda/launch.hpp"
#include "kernels/cuda/view.hpp"

namespace sy::ops {

void on_cuda::adamw(const AdamwOperands& operands, const AdamwStep& step, const Context& context) {
    float* const weight = cuda::values<float>(operands.weight);
    float* const m = cuda::values<float>(operands.m);
    float* const v = cuda::values<float>(operands.v);
    float* const gradient = cuda::values<float>(operands.gradient);
    bf16* const working = cuda::values<bf16>(operands.working);
    const AdamwStep rule = step;
    const auto number = static_cast<double>(step.step);
    const double correction1 = 1.0 - std::pow(static_cast<double>(step.beta1), number);
    const double correction2 = 1.0 - std::pow(static_cast<double>(step.beta2), number);
    const auto keep =
        static_cast<float>(1.0 - static_cast<double>(step.lr) * static_cast<double>(step.weight_decay));
    const auto rate = static_cast<float>(static_cast<double>(step.lr) / correction1);
    const auto root_scale = static_cast<float>(1.0 / correction2);
    cuda::for_elements(context, operands.weight.num_elements(), [=] __device__(index_t i) {
        const float g = gradient[i] * rule.gradient_scale;
        const float new_m = rule.beta1 * m[i] + (1.0F - rule.beta1) * g;
        const float new_v = rule.beta2 * v[i] + (1.0F - rule.beta2) * g * g;
        const float size = sqrtf(new_v * root_scale) + rule.eps;
        const float new_weight = weight[i] * keep - rate * new_m / size;
        m[i] = new_m;
        v[i] = new_v;
        weight[i] = new_weight;
        gradient[i] = 0.0F;
        if (working != nullptr) working[i] = bf16(new_weight);
    });
}

}  // namespace sy::ops
