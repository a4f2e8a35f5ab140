#include "kernels/ops/bias/bias.hpp"

#include <algorithm>

#include "kernels/core/fits.hpp"
#include "kernels/core/gradient.hpp"
#include "kernels/core/host_view.hpp"
#include "kernels/core/profile.hpp"
#include "kernels/core/simd.hpp"
#include "kernels/ops/bias/on_this_thread.hpp"
#include "kernels/ops/cpu_bodies.hpp"
#include "kernels/ops/cpu_device.hpp"

namespace sy::ops {
namespace {

void add_to_rows(MatrixView<const float> x, const float* bias, MatrixView<float> y) {
    simd::for_isa([=]() SY_BODY {
        for (index_t t = 0; t < y.rows; ++t) {
            const float* const from = x.data + t * x.stride;
            float* const to = y.data + t * y.stride;
            simd::for_lanes(y.cols, [&](index_t i, auto load, auto store)
                                        SY_BODY { store(to + i, load(from + i) + load(bias + i)); });
        }
    });
}

/// Columns that one task sums: four vectors that stay in registers over all rows of a block.
constexpr index_t kTaskCols = 4 * simd::kLanes;

/// sums[n] = sum over the rows of dy, at most kTaskCols columns.
template <class In>
void sum_rows(MatrixView<const In> dy, float* sums) {
    simd::for_isa([=]() SY_BODY {
        if (dy.cols == kTaskCols) {
            simd::f32x16 totals[4]{};
            for (index_t t = 0; t < dy.rows; ++t) {
                const In* const row = dy.data + t * dy.stride;
                for (index_t part = 0; part < 4; ++part)
                    totals[part] += simd::load(row + part * simd::kLanes);
            }
            for (index_t part = 0; part < 4; ++part) simd::store(sums + part * simd::kLanes, totals[part]);
            return;
        }
        std::fill_n(sums, dy.cols, 0.0F);
        for (index_t t = 0; t < dy.rows; ++t) {
            const In* const row = dy.data + t * dy.stride;
            simd::for_lanes(dy.cols, [&](index_t i, auto load, auto store)
                                         SY_BODY { store(sums + i, load(sums + i) + load(row + i)); });
        }
    });
}

}  // namespace

void on_cpu::add_bias(ConstTensorRef x_ref, ConstTensorRef bias_ref, TensorRef y_ref,
                      const Context& context) {
    const auto x = host<const float>(x_ref);
    const auto bias = host_values<const float>(bias_ref);
    const auto y = host<float>(y_ref);
    cpu(context).team().for_ranges(y.rows, 8, [&](index_t begin, index_t end) {
        add_to_rows(x.rows_of({begin, end}), bias.data(), y.rows_of({begin, end}));
    });
}

void add_bias_on_this_thread(std::span<const float> bias, MatrixView<float> y) {
    SY_FITS(static_cast<index_t>(bias.size()) == y.cols, "add_bias: ", bias.size(), " values for ", y.cols,
            " columns");
    add_to_rows(y, bias.data(), y);
}

namespace {

template <class In>
void add_blocks(MatrixView<const In> dy, std::span<const index_t> blocks, GradientView gradient,
                const Context& context) {
    // Tasks own columns, so that the blocks of a column are added in order.
    cpu(context).team().for_tasks(ceil_div(dy.cols, kTaskCols), [&](index_t task, int) {
        const Range cols{task * kTaskCols, std::min((task + 1) * kTaskCols, dy.cols)};
        float sums[kTaskCols];
        for (std::size_t block = 0; block + 1 < blocks.size(); ++block) {
            sum_rows(dy.cols_of(cols).rows_of({blocks[block], blocks[block + 1]}), sums);
            accumulate(std::span<const float>(sums, static_cast<std::size_t>(cols.size())), cols.begin,
                       gradient);
        }
    });
}

}  // namespace

void on_cpu::bias_backward(ConstTensorRef dy, std::span<const index_t> blocks, GradientRef gradient,
                           const Context& context) {
    dispatch_dtype(dy.dtype(), [&]<class In>() {
        add_blocks(host<const In>(dy), blocks, host_gradient(gradient), context);
    });
}

}  // namespace sy::ops
