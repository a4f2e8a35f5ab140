#include <cmath>

#include "kernels/core/host_view.hpp"
#include "kernels/ops/optimizer/optimizer.hpp"

namespace sy::ops::ref {

void adamw(const AdamwOperands& operands, const AdamwStep& step) {
    const auto weight = host_values<float>(operands.weight);
    const auto first = host_values<float>(operands.m);
    const auto second = host_values<float>(operands.v);
    const auto gradient = host_values<float>(operands.gradient);
    const auto working = host_values<bf16>(operands.working);
    const auto number = static_cast<double>(step.step);
    const double correction1 = 1.0 - std::pow(static_cast<double>(step.beta1), number);
    const double correction2 = 1.0 - std::pow(static_cast<double>(step.beta2), number);
    for (std::size_t i = 0; i < weight.size(); ++i) {
        const double g = static_cast<double>(gradient[i]) * static_cast<double>(step.gradient_scale);
        const auto beta1 = static_cast<double>(step.beta1);
        const auto beta2 = static_cast<double>(step.beta2);
        const double m = beta1 * static_cast<double>(first[i]) + (1.0 - beta1) * g;
        const double v = beta2 * static_cast<double>(second[i]) + (1.0 - beta2) * g * g;
        const double w = static_cast<double>(weight[i]);
        const double lr = static_cast<double>(step.lr);
        const double update = m / correction1 / (std::sqrt(v / correction2) + static_cast<double>(step.eps));
        weight[i] = static_cast<float>(w - lr * static_cast<double>(step.weight_decay) * w - lr * update);
        first[i] = static_cast<float>(m);
        second[i] = static_cast<float>(v);
        gradient[i] = 0.0F;
        if (!working.empty()) working[i] = bf16(weight[i]);
    }
}

}  // namespace sy::ops::ref
