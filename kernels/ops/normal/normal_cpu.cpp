#include <numbers>

#include "kernels/core/profile.hpp"
#include "kernels/core/simd_erf.hpp"
#include "kernels/core/fits.hpp"
#include "kernels/ops/normal/normal.hpp"
#include "kernels/ops/cpu_bodies.hpp"
#include "kernels/ops/cpu_device.hpp"

namespace sy::ops {
namespace {

void cdf_rows(MatrixView<const float> x, MatrixView<float> y, Range rows) {
    simd::for_isa([=]() SY_BODY {
        constexpr float kInverseRoot = 1.0F / std::numbers::sqrt2_v<float>;
        for (index_t t = rows.begin; t < rows.end; ++t) {
            const float* const source = x.data + t * x.stride;
            float* const target = y.data + t * y.stride;
            simd::for_lanes(x.cols, [&](index_t i, auto load, auto store) SY_BODY {
                store(target + i, 0.5F + 0.5F * simd::erf(load(source + i) * kInverseRoot));
            });
        }
    });
}

void density_rows(MatrixView<const float> x, MatrixView<float> y, Range rows) {
    simd::for_isa([=]() SY_BODY {
        constexpr float kHeight = std::numbers::inv_sqrtpi_v<float> / std::numbers::sqrt2_v<float>;
        for (index_t t = rows.begin; t < rows.end; ++t) {
            const float* const source = x.data + t * x.stride;
            float* const target = y.data + t * y.stride;
            simd::for_lanes(x.cols, [&](index_t i, auto load, auto store) SY_BODY {
                const simd::f32x16 value = load(source + i);
                store(target + i, kHeight * simd::exp(value * value * -0.5F));
            });
        }
    });
}

}  // namespace

void on_cpu::normal_cdf(ConstTensorRef from, TensorRef to, const Context& context) {
    const auto x = host<const float>(from);
    const auto y = host<float>(to);
    cpu(context).team().for_ranges(x.rows, 16, [&](index_t begin, index_t end) {
        cdf_rows(x, y, {begin, end});
    });
}

void on_cpu::normal_density(ConstTensorRef from, TensorRef to, const Context& context) {
    const auto x = host<const float>(from);
    const auto y = host<float>(to);
    cpu(context).team().for_ranges(x.rows, 16, [&](index_t begin, index_t end) {
        density_rows(x, y, {begin, end});
    });
}

}  // namespace sy::ops
