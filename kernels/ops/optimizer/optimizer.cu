#include "kernels/ops/optimizer/optimizer.hpp"

#include <cmath>

#include "kernels/cuda/cuda_bodies.hpp"
#include "kernels/cuda/lanes.hpp"
#include "kernels/cuda/launch.hpp"

namespace sy::ops {

namespace {

/// Sixteen bytes of each operand in float32.
using cuda::kLanes;

}  // namespace

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
    const bool wide = cuda::are_wide<kLanes>(
        {operands.weight, operands.m, operands.v, operands.gradient, operands.working});
    const index_t count = operands.weight.num_elements();
    cuda::for_elements(context, ceil_div(count, kLanes), [=] __device__(index_t group) {
        const index_t i = group * kLanes;
        auto w = cuda::load<kLanes>(weight, i, count, wide);
        auto first = cuda::load<kLanes>(m, i, count, wide);
        auto second = cuda::load<kLanes>(v, i, count, wide);
        const auto slope = cuda::load<kLanes>(gradient, i, count, wide);
#pragma unroll
        for (int lane = 0; lane < kLanes; ++lane) {
            const float g = slope[lane] * rule.gradient_scale;
            first[lane] = rule.beta1 * first[lane] + (1.0F - rule.beta1) * g;
            second[lane] = rule.beta2 * second[lane] + (1.0F - rule.beta2) * g * g;
            const float size = sqrtf(second[lane] * root_scale) + rule.eps;
            w[lane] = w[lane] * keep - rate * first[lane] / size;
        }
        cuda::store<kLanes>(m, i, count, wide, first);
        cuda::store<kLanes>(v, i, count, wide, second);
        cuda::store<kLanes>(weight, i, count, wide, w);
        cuda::store<kLanes>(gradient, i, count, wide, cuda::Lanes<float, kLanes>{});
        if (working != nullptr) cuda::store<kLanes>(working, i, count, wide, w);
    });
}

}  // namespace sy::ops
