#include <cmath>

#include "kernels/core/profile.hpp"
#include "kernels/core/simd.hpp"
#include "kernels/core/fits.hpp"
#include "kernels/core/host_view.hpp"
#include "kernels/ops/optimizer/optimizer.hpp"
#include "kernels/ops/cpu_bodies.hpp"
#include "kernels/ops/cpu_device.hpp"

namespace sy::ops {
namespace {

/// Factors of one step, rounded once.
struct Factors {
    float keep;        ///< 1 - lr * weight_decay
    float rate;        ///< lr / (1 - beta1^step)
    float root_scale;  ///< 1 / (1 - beta2^step)
};

SY_INLINE simd::f32x16 square_root(simd::f32x16 value) {
    simd::f32x16 root;
#pragma omp simd
    for (int lane = 0; lane < 16; ++lane) root[lane] = __builtin_sqrtf(value[lane]);
    return root;
}

/// The elements of AdamwOperands.
struct Elements {
    float* weight;
    float* m;
    float* v;
    float* gradient;
    bf16* working;  ///< null: none
};

/// With or without a working copy: decided outside the loop.
template <bool kHasWorking>
SY_INLINE void update_range(const Elements& operands, const AdamwStep& step, Factors factors, Range range) {
    float* const weight = operands.weight + range.begin;
    float* const m = operands.m + range.begin;
    float* const v = operands.v + range.begin;
    float* const gradient = operands.gradient + range.begin;
    bf16* const working = kHasWorking ? operands.working + range.begin : nullptr;
    const float rest1 = 1.0F - step.beta1;
    const float rest2 = 1.0F - step.beta2;
    simd::for_lanes(range.size(), [&](index_t i, auto load, auto store) SY_BODY {
        const simd::f32x16 g = load(gradient + i) * step.gradient_scale;
        const simd::f32x16 new_m = step.beta1 * load(m + i) + rest1 * g;
        const simd::f32x16 new_v = step.beta2 * load(v + i) + rest2 * g * g;
        const simd::f32x16 size = square_root(new_v * factors.root_scale) + step.eps;
        const simd::f32x16 new_weight = load(weight + i) * factors.keep - factors.rate * new_m / size;
        store(m + i, new_m);
        store(v + i, new_v);
        store(weight + i, new_weight);
        store(gradient + i, simd::f32x16{});
        if constexpr (kHasWorking) store(working + i, new_weight);
    });
}

void adamw_range(const Elements& operands, const AdamwStep& step, Factors factors, Range range) {
    simd::for_isa([=, &operands, &step]() SY_BODY {
        if (operands.working == nullptr) {
            update_range<false>(operands, step, factors, range);
        } else {
            update_range<true>(operands, step, factors, range);
        }
    });
}

}  // namespace

void on_cpu::adamw(const AdamwOperands& operands, const AdamwStep& step, const Context& context) {
    const Elements elements{host_values<float>(operands.weight).data(), host_values<float>(operands.m).data(),
                            host_values<float>(operands.v).data(),
                            host_values<float>(operands.gradient).data(),
                            host_values<bf16>(operands.working).data()};
    const auto number = static_cast<double>(step.step);
    const double correction1 = 1.0 - std::pow(static_cast<double>(step.beta1), number);
    const double correction2 = 1.0 - std::pow(static_cast<double>(step.beta2), number);
    const Factors factors{
        static_cast<float>(1.0 - static_cast<double>(step.lr) * static_cast<double>(step.weight_decay)),
        static_cast<float>(static_cast<double>(step.lr) / correction1),
        static_cast<float>(1.0 / correction2)};
    cpu(context).team().for_ranges(operands.weight.num_elements(), 4096, [&](index_t begin, index_t end) {
        adamw_range(elements, step, factors, {begin, end});
    });
}

}  // namespace sy::ops
