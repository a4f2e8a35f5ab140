#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/core/profile.hpp"
#include "kernels/core/simd.hpp"
#include "kernels/ops/norm/norm.hpp"

namespace sy::ops {
namespace {

struct NormRows {
    MatrixView<const float> x;
    MatrixView<const float> residual;  ///< null data when there is none
    const float* gain;
    float eps;
    MatrixView<float> sum;
    MatrixView<float> y;
    float* rstd;
};

SY_MULTIVERSION void norm_rows(const NormRows& op, Range range) {
    for (index_t t = range.begin; t < range.end; ++t) {
        const float* x = op.x.data + t * op.x.stride;
        simd::f32x16 squares{};
        if (op.residual.data != nullptr) {
            const float* const other = op.residual.data + t * op.residual.stride;
            float* const sum = op.sum.data + t * op.sum.stride;
            simd::for_lanes(
                op.x.cols, [&](index_t i, auto load, auto store) __attribute__((always_inline)) {
                    const simd::f32x16 value = load(x + i) + load(other + i);
                    store(sum + i, value);
                    squares += value * value;
                });
            x = sum;
        } else {
            simd::for_lanes(
                op.x.cols, [&](index_t i, auto load, auto) __attribute__((always_inline)) {
                    const simd::f32x16 value = load(x + i);
                    squares += value * value;
                });
        }
        const float rstd = 1.0F / std::sqrt(simd::sum(squares) / static_cast<float>(op.x.cols) + op.eps);
        op.rstd[t] = rstd;
        float* const y = op.y.data + t * op.y.stride;
        simd::for_lanes(
            op.x.cols, [&](index_t i, auto load, auto store) __attribute__((always_inline)) {
                store(y + i, load(x + i) * rstd * load(op.gain + i));
            });
    }
}

/// Rows [range] of one block: dx, and the block's gain addends into `dgain` [H], rows in order.
SY_MULTIVERSION void backward_rows(const RmsNormBackward& in, MatrixView<float> dx, Range range,
                                   float* dgain) {
    const index_t width = in.x.cols;
    for (index_t t = range.begin; t < range.end; ++t) {
        const float* const x = in.x.data + t * in.x.stride;
        const float* const dy = in.dy.data + t * in.dy.stride;
        const float rstd = in.rstd[static_cast<std::size_t>(t)];
        simd::f32x16 products{};
        simd::for_lanes(
            width, [&](index_t i, auto load, auto store) __attribute__((always_inline)) {
                const simd::f32x16 d = load(dy + i);
                const simd::f32x16 value = load(x + i);
                products += d * load(in.gain.data() + i) * value;
                store(dgain + i, load(dgain + i) + d * value * rstd);
            });
        const float shift = simd::sum(products) / static_cast<float>(width) * rstd * rstd * rstd;
        float* const target = dx.data + t * dx.stride;
        if (in.write == Write::add) {
            simd::for_lanes(
                width, [&](index_t i, auto load, auto store) __attribute__((always_inline)) {
                    store(target + i, load(target + i) + (load(dy + i) * load(in.gain.data() + i) * rstd -
                                                          load(x + i) * shift));
                });
        } else {
            simd::for_lanes(
                width, [&](index_t i, auto load, auto store) __attribute__((always_inline)) {
                    store(target + i, load(dy + i) * load(in.gain.data() + i) * rstd - load(x + i) * shift);
                });
        }
    }
}

void run(const NormRows& op, const Context& context) {
    context.team.for_ranges(op.x.rows, 8, [&](index_t begin, index_t end) { norm_rows(op, {begin, end}); });
}

void check(MatrixView<const float> x, std::size_t gain, MatrixView<const float> y, std::size_t rstd) {
    SY_REQUIRE(static_cast<index_t>(gain) == x.cols && y.rows == x.rows && y.cols == x.cols &&
                   static_cast<index_t>(rstd) == x.rows,
               "rms_norm: x [", x.rows, ", ", x.cols, "], y [", y.rows, ", ", y.cols, "], gain ", gain,
               ", rstd ", rstd);
}

}  // namespace

void rms_norm(MatrixView<const float> x, std::span<const float> gain, float eps, MatrixView<float> y,
              std::span<float> rstd, const Context& context) {
    check(x, gain.size(), y, rstd.size());
    const Timed timed(context, OpKind::normalisation, 4.0 * static_cast<double>(x.rows * x.cols));
    run({x, {}, gain.data(), eps, {}, y, rstd.data()}, context);
}

void add_rms_norm(MatrixView<const float> x, MatrixView<const float> residual, std::span<const float> gain,
                  float eps, MatrixView<float> sum, MatrixView<float> y, std::span<float> rstd,
                  const Context& context) {
    check(x, gain.size(), y, rstd.size());
    check(residual, gain.size(), sum, rstd.size());
    const Timed timed(context, OpKind::normalisation, 5.0 * static_cast<double>(x.rows * x.cols));
    run({x, residual, gain.data(), eps, sum, y, rstd.data()}, context);
}

void rms_norm_backward(const RmsNormBackward& in, MatrixView<float> dx, GradientView dgain,
                       const Context& context) {
    check(in.x, in.gain.size(), in.dy, in.rstd.size());
    SY_REQUIRE(dx.rows == in.x.rows && dx.cols == in.x.cols && dgain.rows * dgain.cols == in.x.cols &&
                   in.block_rows > 0,
               "rms_norm_backward: dx [", dx.rows, ", ", dx.cols, "], gain gradient ",
               dgain.rows * dgain.cols, " for ", in.x.cols, " columns");
    const Timed timed(context, OpKind::normalisation, 11.0 * static_cast<double>(in.x.rows * in.x.cols));
    const index_t num_blocks = ceil_div(in.x.rows, in.block_rows);
    if (num_blocks == 0) return;
    Tensor partial(context.arena, DType::f32, {num_blocks, in.x.cols});
    partial.fill_zero();
    const MatrixView<float> partials = partial.matrix<float>();
    context.team.for_tasks(num_blocks, [&](index_t block, int) {
        const index_t begin = block * in.block_rows;
        backward_rows(in, dx, {begin, std::min(begin + in.block_rows, in.x.rows)}, partials.row(block));
    });
    for (index_t block = 0; block < num_blocks; ++block) accumulate(partials.row_span(block), 0, dgain);
}

}  // namespace sy::ops
