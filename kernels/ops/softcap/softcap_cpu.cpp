#include "kernels/core/profile.hpp"
#include "kernels/core/simd_tanh.hpp"
#include "kernels/core/fits.hpp"
#include "kernels/ops/softcap/softcap.hpp"
#include "kernels/ops/cpu_bodies.hpp"
#include "kernels/ops/cpu_device.hpp"

namespace sy::ops {
namespace {

void cap_rows(MatrixView<const float> x, float cap, MatrixView<float> y, Range rows) {
    simd::for_isa([=]() SY_BODY {
        const float inverse = 1.0F / cap;
        for (index_t t = rows.begin; t < rows.end; ++t) {
            const float* const source = x.data + t * x.stride;
            float* const target = y.data + t * y.stride;
            simd::for_lanes(x.cols, [&](index_t i, auto load, auto store) SY_BODY {
                store(target + i, simd::tanh(load(source + i) * inverse) * cap);
            });
        }
    });
}

void differentiate_rows(MatrixView<const float> x, float cap, MatrixView<float> gradient, Range rows) {
    simd::for_isa([=]() SY_BODY {
        // 1 - tanh^2 is a difference of nearly equal numbers where the cap bites; 4 e / (1 + e)^2 with e = e^-2|x/cap| is
        // not.
        const float twice = -2.0F / cap;
        for (index_t t = rows.begin; t < rows.end; ++t) {
            const float* const source = x.data + t * x.stride;
            float* const target = gradient.data + t * gradient.stride;
            simd::for_lanes(x.cols, [&](index_t i, auto load, auto store) SY_BODY {
                const simd::f32x16 scaled = load(source + i) * twice;
                const simd::f32x16 power = simd::exp(simd::min(-scaled, scaled));
                const simd::f32x16 sum = power + 1.0F;
                store(target + i, load(target + i) * (4.0F * power / (sum * sum)));
            });
        }
    });
}

}  // namespace

void on_cpu::soft_cap(ConstTensorRef from, float cap, TensorRef to, const Context& context) {
    const auto x = host<const float>(from);
    const auto y = host<float>(to);
    cpu(context).team().for_ranges(x.rows, 4, [&](index_t begin, index_t end) {
        cap_rows(x, cap, y, {begin, end});
    });
}

void on_cpu::soft_cap_backward(ConstTensorRef from, float cap, TensorRef in_place, const Context& context) {
    const auto x = host<const float>(from);
    const auto gradient = host<float>(in_place);
    cpu(context).team().for_ranges(x.rows, 4, [&](index_t begin, index_t end) {
        differentiate_rows(x, cap, gradient, {begin, end});
    });
}

}  // namespace sy::ops
