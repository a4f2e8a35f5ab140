#include <algorithm>
#include <cmath>

#include "kernels/core/profile.hpp"
#include "kernels/core/simd.hpp"
#include "kernels/core/fits.hpp"
#include "kernels/core/gradient.hpp"
#include "kernels/ops/norm/norm.hpp"
#include "kernels/ops/cpu_bodies.hpp"
#include "kernels/ops/cpu_device.hpp"

namespace sy::ops {
namespace {

struct NormRows {
    MatrixView<const float> x;
    MatrixView<const float> residual;  ///< null data when there is none
    const float* gain;
    const float* bias;  ///< null when there is none
    float eps;
    MatrixView<float> sum;
    MatrixView<float> y;
    float* rstd;
    float* mean;
};

/// Sum over the row of (x - mean)^2. The lanes beyond its end hold the mean and add nothing.
SY_INLINE float centred_squares(const float* x, index_t count, float mean) {
    simd::f32x16 squares{};
    index_t i = 0;
    for (; i + simd::kLanes <= count; i += simd::kLanes) {
        const simd::f32x16 centred = simd::load(x + i) - mean;
        squares += centred * centred;
    }
    if (i < count) {
        const simd::f32x16 centred = simd::load_part(x + i, count - i, mean) - mean;
        squares += centred * centred;
    }
    return simd::sum(squares);
}

/// The first pass over a row: its sum with the residual, and what the statistics begin with: sum of squares (rms) or
/// of values (layer). @return the row to normalise
template <NormKind kind>
SY_INLINE const float* first_pass(const NormRows& op, index_t t, simd::f32x16& totals) {
    const float* const x = op.x.data + t * op.x.stride;
    const auto count_in = [&](simd::f32x16 value) SY_BODY {
        if constexpr (kind == NormKind::rms) {
            totals += value * value;
        } else {
            totals += value;
        }
    };
    if (op.residual.data == nullptr) {
        simd::for_lanes(op.x.cols, [&](index_t i, auto load, auto) SY_BODY { count_in(load(x + i)); });
        return x;
    }
    const float* const other = op.residual.data + t * op.residual.stride;
    float* const sum = op.sum.data + t * op.sum.stride;
    simd::for_lanes(op.x.cols, [&](index_t i, auto load, auto store) SY_BODY {
        const simd::f32x16 value = load(x + i) + load(other + i);
        store(sum + i, value);
        count_in(value);
    });
    return sum;
}

struct RowStatistics {
    float mean;
    float rstd;
};

/// For a row whose sum or squares are more than a float holds: without this it would become 0, and a model that diverges
/// would continue as if nothing were the matter.
template <NormKind kind>
[[gnu::noinline]] RowStatistics statistics_in_double(const float* x, index_t count, float eps) {
    const auto width = static_cast<double>(count);
    double mean = 0.0;
    for (index_t i = 0; kind == NormKind::layer && i < count; ++i) mean += static_cast<double>(x[i]) / width;
    double square = 0.0;
    for (index_t i = 0; i < count; ++i) {
        const double centred = static_cast<double>(x[i]) - mean;
        square += centred * centred / width;
    }
    return {static_cast<float>(mean), static_cast<float>(1.0 / std::sqrt(square + static_cast<double>(eps)))};
}

template <NormKind kind, bool has_bias>
SY_INLINE void norm_row(const NormRows& op, index_t t) {
    const auto width = static_cast<float>(op.x.cols);
    simd::f32x16 totals{};
    const float* const x = first_pass<kind>(op, t, totals);
    float mean = 0.0F;
    float squares = simd::sum(totals);
    if constexpr (kind == NormKind::layer) {
        mean = squares / width;
        squares = centred_squares(x, op.x.cols, mean);
    }
    float rstd = 1.0F / std::sqrt(squares / width + op.eps);
    if (!(rstd > 0.0F)) {
        const RowStatistics exact = statistics_in_double<kind>(x, op.x.cols, op.eps);
        mean = exact.mean;
        rstd = exact.rstd;
    }
    if constexpr (kind == NormKind::layer) op.mean[t] = mean;
    op.rstd[t] = rstd;
    float* const y = op.y.data + t * op.y.stride;
    simd::for_lanes(op.x.cols, [&](index_t i, auto load, auto store) SY_BODY {
        simd::f32x16 value = load(x + i);
        if constexpr (kind == NormKind::layer) value = value - mean;
        value = value * rstd * load(op.gain + i);
        if constexpr (has_bias) value = value + load(op.bias + i);
        store(y + i, value);
    });
}

template <NormKind kind>
void norm_rows(const NormRows& op, Range range) {
    simd::for_isa([=, &op]() SY_BODY {
        if (op.bias == nullptr) {
            for (index_t t = range.begin; t < range.end; ++t) norm_row<kind, false>(op, t);
        } else {
            for (index_t t = range.begin; t < range.end; ++t) norm_row<kind, true>(op, t);
        }
    });
}

struct BackwardRows {
    MatrixView<const float> x;
    MatrixView<const float> dy;
    const float* rstd;
    const float* mean;
    const float* gain;
    MatrixView<float> dx;
    Write write;
};

/// dx = or += rstd * (dy * gain - mean(dy * gain) - xhat * mean(dy * gain * xhat)); rms without the first mean.
template <NormKind kind, Write write>
SY_INLINE void write_row(const BackwardRows& op, index_t t, float direct_mean, float shift) {
    const float* const x = op.x.data + t * op.x.stride;
    const float* const dy = op.dy.data + t * op.dy.stride;
    float* const target = op.dx.data + t * op.dx.stride;
    const float rstd = op.rstd[t];
    float mean = 0.0F;
    if constexpr (kind == NormKind::layer) mean = op.mean[t];
    simd::for_lanes(op.x.cols, [&](index_t i, auto load, auto store) SY_BODY {
        simd::f32x16 value = load(x + i);
        simd::f32x16 direct = load(dy + i) * load(op.gain + i);
        if constexpr (kind == NormKind::layer) {
            value = value - mean;
            direct = direct - direct_mean;
        }
        const simd::f32x16 change = direct * rstd - value * shift;
        if constexpr (write == Write::add) {
            store(target + i, load(target + i) + change);
        } else {
            store(target + i, change);
        }
    });
}

/// Rows [range] of one block: dx, and the block's addends of gain and bias [H] each, rows in order. dbias may be null.
template <NormKind kind, bool has_bias>
SY_INLINE void backward_rows(const BackwardRows& op, Range range, float* dgain, float* dbias) {
    const auto width = static_cast<float>(op.x.cols);
    for (index_t t = range.begin; t < range.end; ++t) {
        const float* const x = op.x.data + t * op.x.stride;
        const float* const dy = op.dy.data + t * op.dy.stride;
        const float rstd = op.rstd[t];
        float mean = 0.0F;
        if constexpr (kind == NormKind::layer) mean = op.mean[t];
        simd::f32x16 slopes{};
        simd::f32x16 products{};
        simd::for_lanes(op.x.cols, [&](index_t i, auto load, auto store) SY_BODY {
            const simd::f32x16 d = load(dy + i);
            simd::f32x16 value = load(x + i);
            if constexpr (kind == NormKind::layer) value = value - mean;
            const simd::f32x16 slope = d * load(op.gain + i);
            if constexpr (kind == NormKind::layer) slopes += slope;
            products += slope * value;
            store(dgain + i, load(dgain + i) + d * value * rstd);
            if constexpr (has_bias) store(dbias + i, load(dbias + i) + d);
        });
        const float shift = simd::sum(products) / width * rstd * rstd * rstd;
        const float direct_mean = kind == NormKind::layer ? simd::sum(slopes) / width : 0.0F;
        if (op.write == Write::add) {
            write_row<kind, Write::add>(op, t, direct_mean, shift);
        } else {
            write_row<kind, Write::overwrite>(op, t, direct_mean, shift);
        }
    }
}

template <NormKind kind>
void backward_block(const BackwardRows& op, Range range, float* dgain, float* dbias) {
    simd::for_isa([=, &op]() SY_BODY {
        if (dbias == nullptr) {
            backward_rows<kind, false>(op, range, dgain, dbias);
        } else {
            backward_rows<kind, true>(op, range, dgain, dbias);
        }
    });
}

void run(const Norm& rule, const NormRows& op, const Context& context) {
    cpu(context).team().for_ranges(op.x.rows, 8, [&](index_t begin, index_t end) {
        if (rule.kind == NormKind::rms) {
            norm_rows<NormKind::rms>(op, {begin, end});
        } else {
            norm_rows<NormKind::layer>(op, {begin, end});
        }
    });
}

/// The first of values one after another; null where there are none.
const float* first_of(ConstTensorRef values) {
    return host_values<const float>(values).data();
}

}  // namespace

void on_cpu::norm(const Norm& rule, ConstTensorRef x, TensorRef y, const NormStatistics& statistics,
                  const Context& context) {
    run(rule,
        {host<const float>(x),
         {},
         first_of(rule.gain),
         first_of(rule.bias),
         rule.eps,
         {},
         host<float>(y),
         host_values<float>(statistics.rstd).data(),
         host_values<float>(statistics.mean).data()},
        context);
}

void on_cpu::add_norm(const Norm& rule, const AddNorm& rows, const NormStatistics& statistics,
                      const Context& context) {
    run(rule,
        {host<const float>(rows.x), host<const float>(rows.residual), first_of(rule.gain),
         first_of(rule.bias), rule.eps, host<float>(rows.sum), host<float>(rows.y),
         host_values<float>(statistics.rstd).data(), host_values<float>(statistics.mean).data()},
        context);
}

void on_cpu::norm_backward(const Norm& rule, const NormBackward& in, TensorRef dx,
                           const NormGradients& gradients, const Context& context) {
    const index_t rows = in.x.rows();
    const index_t width = in.x.cols();
    const bool has_bias = !rule.bias.is_null();
    const index_t num_blocks = ceil_div(rows, in.block_rows);
    if (num_blocks == 0) return;
    const index_t num_sums = has_bias ? 2 : 1;
    Tensor partial(context.device, DType::f32, {num_sums * num_blocks, width});
    partial.fill_zero();
    const MatrixView<float> partials = partial.matrix<float>();
    const BackwardRows op{
        host<const float>(in.x), host<const float>(in.dy), first_of(in.rstd), first_of(in.mean),
        first_of(rule.gain),     host<float>(dx),          in.write};
    cpu(context).team().for_tasks(num_blocks, [&](index_t block, int) {
        const index_t begin = block * in.block_rows;
        const Range range{begin, std::min(begin + in.block_rows, rows)};
        float* const dgain = partials.row(num_sums * block);
        float* const dbias = has_bias ? partials.row(num_sums * block + 1) : nullptr;
        if (rule.kind == NormKind::rms) {
            backward_block<NormKind::rms>(op, range, dgain, dbias);
        } else {
            backward_block<NormKind::layer>(op, range, dgain, dbias);
        }
    });
    for (index_t block = 0; block < num_blocks; ++block) {
        accumulate(partials.row_span(num_sums * block), 0, host_gradient(gradients.gain));
        if (has_bias) accumulate(partials.row_span(num_sums * block + 1), 0, host_gradient(gradients.bias));
    }
}

}  // namespace sy::ops
