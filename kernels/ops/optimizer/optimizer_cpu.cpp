#include <cmath>

#include "kernels/core/simd.hpp"
#include "kernels/ops/optimizer/optimizer.hpp"

namespace sy::ops {
namespace {

/// Factors of one step, rounded once.
struct Factors {
    float keep;        ///< 1 - lr * weight_decay
    float rate;        ///< lr / (1 - beta1^step)
    float root_scale;  ///< 1 / (1 - beta2^step)
};

SY_MULTIVERSION void adamw_range(const AdamwOperands& operands, const AdamwStep& step, Factors factors,
                                 Range range) {
    float* const weight = operands.weight.data();
    float* const m = operands.m.data();
    float* const v = operands.v.data();
    const float* const gradient = operands.gradient.data();
    bf16* const working = operands.working.data();
    for (index_t i = range.begin; i < range.end; ++i) {
        const float g = gradient[i] * step.gradient_scale;
        const float new_m = step.beta1 * m[i] + (1.0F - step.beta1) * g;
        const float new_v = step.beta2 * v[i] + (1.0F - step.beta2) * g * g;
        m[i] = new_m;
        v[i] = new_v;
        weight[i] = weight[i] * factors.keep -
                    factors.rate * new_m / (__builtin_sqrtf(new_v * factors.root_scale) + step.eps);
    }
    if (working == nullptr) return;
    simd::for_lanes(
        range.size(), [&](index_t i, auto load, auto store) __attribute__((always_inline)) {
            store(working + range.begin + i, load(weight + range.begin + i));
        });
}

}  // namespace

void adamw(const AdamwOperands& operands, const AdamwStep& step, const Context& context) {
    const std::size_t count = operands.weight.size();
    SY_REQUIRE(operands.m.size() == count && operands.v.size() == count &&
                   operands.gradient.size() == count &&
                   (operands.working.empty() || operands.working.size() == count) && step.step >= 1,
               "adamw: ", count, " weights, ", operands.m.size(), " m, ", operands.v.size(), " v, ",
               operands.gradient.size(), " gradients at step ", step.step);
    const auto number = static_cast<double>(step.step);
    const double correction1 = 1.0 - std::pow(static_cast<double>(step.beta1), number);
    const double correction2 = 1.0 - std::pow(static_cast<double>(step.beta2), number);
    const Factors factors{
        static_cast<float>(1.0 - static_cast<double>(step.lr) * static_cast<double>(step.weight_decay)),
        static_cast<float>(static_cast<double>(step.lr) / correction1),
        static_cast<float>(1.0 / correction2)};
    // Pieces small enough that the second loop finds the weights in cache.
    constexpr index_t kPiece = 4096;
    context.team.for_ranges(static_cast<index_t>(count), kPiece, [&](index_t begin, index_t end) {
        for (index_t first = begin; first < end; first += kPiece) {
            adamw_range(operands, step, factors, {first, std::min(first + kPiece, end)});
        }
    });
}

}  // namespace sy::ops
