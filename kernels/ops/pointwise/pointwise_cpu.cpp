#include <cmath>

#include "kernels/core/fits.hpp"
#include "kernels/core/host_view.hpp"
#include "kernels/core/profile.hpp"
#include "kernels/core/simd.hpp"
#include "kernels/ops/activation/activation.hpp"
#include "kernels/ops/pointwise/pointwise.hpp"
#include "kernels/ops/cpu_bodies.hpp"
#include "kernels/ops/cpu_device.hpp"

namespace sy::ops {
namespace {

constexpr index_t kTaskRows = 8;

void clip_rows(MatrixView<float> x, float limit) {
    simd::for_isa([=]() SY_BODY {
        for (index_t t = 0; t < x.rows; ++t) {
            float* const row = x.data + t * x.stride;
            simd::for_lanes(x.cols, [&](index_t i, auto load, auto store) SY_BODY {
                // A value that is no number is the second operand both times, and passes.
                store(row + i, simd::min(simd::splat(limit), simd::max(simd::splat(-limit), load(row + i))));
            });
        }
    });
}

void stop_rows(MatrixView<const float> y, float limit, MatrixView<float> gradient) {
    simd::for_isa([=]() SY_BODY {
        for (index_t t = 0; t < y.rows; ++t) {
            const float* const left = y.data + t * y.stride;
            float* const row = gradient.data + t * gradient.stride;
            simd::for_lanes(y.cols, [&](index_t i, auto load, auto store) SY_BODY {
                const simd::f32x16 value = load(left + i);
                simd::f32x16 slope = load(row + i);
#pragma omp simd
                for (int lane = 0; lane < 16; ++lane)
                    slope[lane] = std::fabs(value[lane]) >= limit ? 0.0F : slope[lane];
                store(row + i, slope);
            });
        }
    });
}

void sigmoid_rows(MatrixView<float> x) {
    simd::for_isa([=]() SY_BODY {
        for (index_t t = 0; t < x.rows; ++t) {
            float* const row = x.data + t * x.stride;
            simd::for_lanes(x.cols, [&](index_t i, auto load, auto store)
                                        SY_BODY { store(row + i, simd::sigmoid(load(row + i))); });
        }
    });
}

void slope_rows(MatrixView<const float> y, MatrixView<float> gradient) {
    simd::for_isa([=]() SY_BODY {
        for (index_t t = 0; t < y.rows; ++t) {
            const float* const left = y.data + t * y.stride;
            float* const row = gradient.data + t * gradient.stride;
            simd::for_lanes(y.cols, [&](index_t i, auto load, auto store) SY_BODY {
                const simd::f32x16 value = load(left + i);
                store(row + i, value * (1.0F - value) * load(row + i));
            });
        }
    });
}

template <class Body>
void each_range(index_t rows, const Context& context, const Body& body) {
    cpu(context).team().for_ranges(rows, kTaskRows, [&](index_t begin, index_t end) {
        body(Range{begin, end});
    });
}

}  // namespace

void on_cpu::clip(TensorRef in_place, float limit, const Context& context) {
    const auto x = host<float>(in_place);
    each_range(x.rows, context, [&](Range rows) { clip_rows(x.rows_of(rows), limit); });
}

void on_cpu::clip_backward(ConstTensorRef clipped, float limit, TensorRef in_place, const Context& context) {
    const auto y = host<const float>(clipped);
    const auto gradient = host<float>(in_place);
    each_range(y.rows, context,
               [&](Range rows) { stop_rows(y.rows_of(rows), limit, gradient.rows_of(rows)); });
}

void on_cpu::sigmoid(TensorRef in_place, const Context& context) {
    const auto x = host<float>(in_place);
    each_range(x.rows, context, [&](Range rows) { sigmoid_rows(x.rows_of(rows)); });
}

void on_cpu::sigmoid_backward(ConstTensorRef left, TensorRef in_place, const Context& context) {
    const auto y = host<const float>(left);
    const auto gradient = host<float>(in_place);
    each_range(y.rows, context, [&](Range rows) { slope_rows(y.rows_of(rows), gradient.rows_of(rows)); });
}

void on_cpu::nonlinearity(Activation kind, ConstTensorRef from, TensorRef to, const Context& context) {
    const auto x = host<const float>(from);
    const auto y = host<float>(to);
    each_range(x.rows, context, [&](Range rows) {
        Activate<float> block;
        block.kind = kind;
        block.up = x.rows_of(rows);
        block.h = y.rows_of(rows);
        activate(block);
    });
}

void on_cpu::nonlinearity_backward(Activation kind, const NonlinearityBackward& in, const Context& context) {
    const auto x = host<const float>(in.x);
    const auto dy = host<const float>(in.dy);
    const auto y = host<float>(in.y);
    const auto dx = host<float>(in.dx);
    each_range(x.rows, context, [&](Range rows) {
        ActivateBackward<float> block;
        block.kind = kind;
        block.up = x.rows_of(rows);
        block.dh = dy.rows_of(rows);
        block.h = y.rows_of(rows);
        block.dup = dx.rows_of(rows);
        activate_backward(block);
    });
}

}  // namespace sy::ops
