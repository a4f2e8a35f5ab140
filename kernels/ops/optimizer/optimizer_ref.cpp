#include <cmath>

#include "kernels/ops/optimizer/optimizer.hpp"

namespace sy::ops::ref {

void adamw(const AdamwOperands& operands, const AdamwStep& step) {
    const auto number = static_cast<double>(step.step);
    const double correction1 = 1.0 - std::pow(static_cast<double>(step.beta1), number);
    const double correction2 = 1.0 - std::pow(static_cast<double>(step.beta2), number);
    for (std::size_t i = 0; i < operands.weight.size(); ++i) {
        const double g = static_cast<double>(operands.gradient[i]) * static_cast<double>(step.gradient_scale);
        const auto beta1 = static_cast<double>(step.beta1);
        const auto beta2 = static_cast<double>(step.beta2);
        const double m = beta1 * static_cast<double>(operands.m[i]) + (1.0 - beta1) * g;
        const double v = beta2 * static_cast<double>(operands.v[i]) + (1.0 - beta2) * g * g;
        const double w = static_cast<double>(operands.weight[i]);
        const double lr = static_cast<double>(step.lr);
        const double update = m / correction1 / (std::sqrt(v / correction2) + static_cast<double>(step.eps));
        operands.weight[i] =
            static_cast<float>(w - lr * static_cast<double>(step.weight_decay) * w - lr * update);
        operands.m[i] = static_cast<float>(m);
        operands.v[i] = static_cast<float>(v);
        operands.gradient[i] = 0.0F;
        if (!operands.working.empty()) operands.working[i] = bf16(operands.weight[i]);
    }
}

}  // namespace sy::ops::ref
