#include "kernels/ops/norm/norm.hpp"

#include "kernels/cuda/cuda_bodies.hpp"
#include "kernels/cuda/gradient.hpp"
#include "kernels/cuda/lanes.hpp"
#include "kernels/cuda/team.hpp"
#include "kernels/cuda/view.hpp"

namespace sy::ops {
namespace {

struct NormRows {
    cuda::Matrix<const float> x;
    cuda::Matrix<const float> residual;  ///< null data when there is none
    const float* gain;
    const float* bias;  ///< null when there is none
    float eps;
    cuda::Matrix<float> sum;
    cuda::Matrix<float> y;
    float* rstd;
    float* mean;
    bool wide;
};

/// Neighbouring columns of a thread: sixteen bytes.
using cuda::kLanes;

/// Calls body(i, value of column i) for the columns of a thread, in ascending order.
template <class Body>
__device__ void for_own(const float* row, index_t cols, bool wide, const cuda::Team& team, const Body& body) {
    for (index_t first = index_t{team.thread} * kLanes; first < cols; first += index_t{team.size} * kLanes) {
        const auto lanes = cuda::load<kLanes>(row, first, cols, wide);
#pragma unroll
        for (int lane = 0; lane < kLanes; ++lane) {
            if (first + lane < cols) body(first + lane, lanes[lane]);
        }
    }
}

struct RowStatistics {
    float mean;
    float rstd;
};

/// For a row whose sum or squares are more than a float holds: without this it would become 0, and a model that diverges
/// would continue as if nothing were the matter.
template <NormKind kind>
__device__ RowStatistics statistics_in_double(const float* x, index_t cols, float eps,
                                              const cuda::Team& team) {
    const auto width = static_cast<double>(cols);
    double mean = 0.0;
    if constexpr (kind == NormKind::layer) {
        double own = 0.0;
        for (index_t i = team.thread; i < cols; i += team.size) own += static_cast<double>(x[i]) / width;
        mean = team.sum(own);
    }
    double own = 0.0;
    for (index_t i = team.thread; i < cols; i += team.size) {
        const double centred = static_cast<double>(x[i]) - mean;
        own += centred * centred / width;
    }
    const double square = team.sum(own);
    return {static_cast<float>(mean), static_cast<float>(1.0 / sqrt(square + static_cast<double>(eps)))};
}

template <NormKind kind>
__device__ RowStatistics statistics(const float* x, const NormRows& op, const cuda::Team& team) {
    const index_t cols = op.x.cols;
    const auto width = static_cast<float>(cols);
    float mean = 0.0F;
    if constexpr (kind == NormKind::layer) {
        float own = 0.0F;
        for_own(x, cols, op.wide, team, [&](index_t, float value) { own += value; });
        mean = team.sum(own) / width;
    }
    float own = 0.0F;
    for_own(x, cols, op.wide, team, [&](index_t, float value) { own += (value - mean) * (value - mean); });
    const float rstd = 1.0F / sqrtf(team.sum(own) / width + op.eps);
    if (rstd > 0.0F) return {mean, rstd};
    return statistics_in_double<kind>(x, cols, op.eps, team);
}

template <NormKind kind>
void norm_rows(const NormRows& rows, const Context& context) {
    const NormRows op = rows;
    cuda::for_rows(context, op.x.rows, op.x.cols, [=] __device__(index_t t, const cuda::Team& team) {
        const float* x = op.x.row(t);
        const index_t cols = op.x.cols;
        const index_t begin = index_t{team.thread} * kLanes, step = index_t{team.size} * kLanes;
        if (op.residual.data != nullptr) {
            float* const sum = op.sum.row(t);
            // A thread reads again what it has written itself: all loops give it the same columns.
            for (index_t i = begin; i < cols; i += step) {
                auto lanes = cuda::load<kLanes>(x, i, cols, op.wide);
                const auto residual = cuda::load<kLanes>(op.residual.row(t), i, cols, op.wide);
#pragma unroll
                for (int lane = 0; lane < kLanes; ++lane) lanes[lane] += residual[lane];
                cuda::store<kLanes>(sum, i, cols, op.wide, lanes);
            }
            x = sum;
        }
        const RowStatistics row = statistics<kind>(x, op, team);
        if (team.thread == 0) {
            op.rstd[t] = row.rstd;
            if (kind == NormKind::layer) op.mean[t] = row.mean;
        }
        for (index_t i = begin; i < cols; i += step) {
            auto lanes = cuda::load<kLanes>(x, i, cols, op.wide);
            const auto gain = cuda::load<kLanes>(op.gain, i, cols, op.wide);
#pragma unroll
            for (int lane = 0; lane < kLanes; ++lane)
                lanes[lane] = (lanes[lane] - row.mean) * row.rstd * gain[lane];
            if (op.bias != nullptr) {
                const auto bias = cuda::load<kLanes>(op.bias, i, cols, op.wide);
#pragma unroll
                for (int lane = 0; lane < kLanes; ++lane) lanes[lane] += bias[lane];
            }
            cuda::store<kLanes>(op.y.row(t), i, cols, op.wide, lanes);
        }
    });
}

void run(const Norm& rule, const NormRows& rows, const Context& context) {
    if (rule.kind == NormKind::rms) {
        norm_rows<NormKind::rms>(rows, context);
    } else {
        norm_rows<NormKind::layer>(rows, context);
    }
}

struct BackwardRows {
    cuda::Matrix<const float> x;
    cuda::Matrix<const float> dy;
    const float* rstd;
    const float* mean;  ///< null for rms
    const float* gain;
    cuda::Matrix<float> dx;
    Write write;
    bool wide;

    __device__ cuda::Lanes<float, kLanes> centred(index_t t, index_t i) const {
        auto lanes = cuda::load<kLanes>(x.row(t), i, x.cols, wide);
        if (mean == nullptr) return lanes;
#pragma unroll
        for (int lane = 0; lane < kLanes; ++lane) lanes[lane] -= mean[t];
        return lanes;
    }
};

/// addends[block] = the gradients of the gain over the rows of a block in order, and of the bias if it is there.
void gradient_addends(const BackwardRows& rows, index_t block_rows, cuda::Matrix<float> dgain,
                      cuda::Matrix<float> dbias, const Context& context) {
    const BackwardRows op = rows;
    const index_t cols = dgain.cols;
    cuda::for_matrix(context, dgain.rows, ceil_div(cols, kLanes),
                     [=] __device__(index_t block, index_t group) {
                         const index_t i = group * kLanes;
                         const index_t begin = block * block_rows;
                         const index_t end = begin + block_rows < op.x.rows ? begin + block_rows : op.x.rows;
                         cuda::Lanes<float, kLanes> gain{};
                         cuda::Lanes<float, kLanes> bias{};
                         for (index_t t = begin; t < end; ++t) {
                             const auto dy = cuda::load<kLanes>(op.dy.row(t), i, cols, op.wide);
                             const auto centred = op.centred(t, i);
#pragma unroll
                             for (int lane = 0; lane < kLanes; ++lane) {
                                 gain[lane] += dy[lane] * centred[lane] * op.rstd[t];
                                 bias[lane] += dy[lane];
                             }
                         }
                         cuda::store<kLanes>(dgain.row(block), i, cols, op.wide, gain);
                         if (dbias.data != nullptr)
                             cuda::store<kLanes>(dbias.row(block), i, cols, op.wide, bias);
                     });
}

/// dx = or += rstd * (dy * gain - mean(dy * gain) - xhat * mean(dy * gain * xhat)); rms without the first mean.
void gradient_rows(const BackwardRows& rows, const Context& context) {
    const BackwardRows op = rows;
    cuda::for_rows(context, op.x.rows, op.x.cols, [=] __device__(index_t t, const cuda::Team& team) {
        const index_t cols = op.x.cols;
        const auto width = static_cast<float>(cols);
        const index_t begin = index_t{team.thread} * kLanes, step = index_t{team.size} * kLanes;
        const float rstd = op.rstd[t];
        float slopes = 0.0F;
        float products = 0.0F;
        for (index_t i = begin; i < cols; i += step) {
            const auto dy = cuda::load<kLanes>(op.dy.row(t), i, cols, op.wide);
            const auto gain = cuda::load<kLanes>(op.gain, i, cols, op.wide);
            const auto centred = op.centred(t, i);
#pragma unroll
            for (int lane = 0; lane < kLanes; ++lane) {
                if (i + lane >= cols) break;
                const float slope = dy[lane] * gain[lane];
                slopes += slope;
                products += slope * centred[lane];
            }
        }
        const float shift = team.sum(products) / width * rstd * rstd * rstd;
        const float direct_mean = op.mean == nullptr ? 0.0F : team.sum(slopes) / width;
        for (index_t i = begin; i < cols; i += step) {
            const auto dy = cuda::load<kLanes>(op.dy.row(t), i, cols, op.wide);
            const auto gain = cuda::load<kLanes>(op.gain, i, cols, op.wide);
            const auto centred = op.centred(t, i);
            cuda::Lanes<float, kLanes> dx{};
            if (op.write == Write::add) dx = cuda::load<kLanes>(op.dx.row(t), i, cols, op.wide);
#pragma unroll
            for (int lane = 0; lane < kLanes; ++lane) {
                const float direct = dy[lane] * gain[lane] - direct_mean;
                const float change = direct * rstd - centred[lane] * shift;
                dx[lane] = op.write == Write::add ? dx[lane] + change : change;
            }
            cuda::store<kLanes>(op.dx.row(t), i, cols, op.wide, dx);
        }
    });
}

}  // namespace

void on_cuda::norm(const Norm& rule, ConstTensorRef x, TensorRef y, const NormStatistics& statistics,
                   const Context& context) {
    run(rule,
        {cuda::view<const float>(x),
         {},
         cuda::values<const float>(rule.gain),
         cuda::values<const float>(rule.bias),
         rule.eps,
         {},
         cuda::view<float>(y),
         cuda::values<float>(statistics.rstd),
         cuda::values<float>(statistics.mean),
         cuda::are_wide<kLanes>({x, rule.gain, rule.bias, y})},
        context);
}

void on_cuda::add_norm(const Norm& rule, const AddNorm& rows, const NormStatistics& statistics,
                       const Context& context) {
    run(rule,
        {cuda::view<const float>(rows.x), cuda::view<const float>(rows.residual),
         cuda::values<const float>(rule.gain), cuda::values<const float>(rule.bias), rule.eps,
         cuda::view<float>(rows.sum), cuda::view<float>(rows.y), cuda::values<float>(statistics.rstd),
         cuda::values<float>(statistics.mean),
         cuda::are_wide<kLanes>({rows.x, rows.residual, rule.gain, rule.bias, rows.sum, rows.y})},
        context);
}

void on_cuda::norm_backward(const Norm& rule, const NormBackward& in, TensorRef dx,
                            const NormGradients& gradients, const Context& context) {
    const index_t num_blocks = ceil_div(in.x.rows(), in.block_rows);
    if (num_blocks == 0) return;
    Tensor gain(context.device, DType::f32, {num_blocks, in.x.cols()});
    Tensor bias(context.device, DType::f32, {rule.bias.is_null() ? 0 : num_blocks, in.x.cols()});
    const BackwardRows op{cuda::view<const float>(in.x),
                          cuda::view<const float>(in.dy),
                          cuda::values<const float>(in.rstd),
                          rule.kind == NormKind::layer ? cuda::values<const float>(in.mean) : nullptr,
                          cuda::values<const float>(rule.gain),
                          cuda::view<float>(dx),
                          in.write,
                          cuda::are_wide<kLanes>({in.x, in.dy, rule.gain, dx, gain.ref(), bias.ref()})};
    // Before dx is written, which may be dy.
    gradient_addends(op, in.block_rows, cuda::view<float>(gain.ref()), cuda::view<float>(bias.ref()),
                     context);
    gradient_rows(op, context);
    cuda::add_blocks(cuda::view<const float>(gain.ref()), cuda::Gradient(gradients.gain), context);
    if (!rule.bias.is_null())
        cuda::add_blocks(cuda::view<const float>(bias.ref()), cuda::Gradient(gradients.bias), context);
}

}  // namespace sy::ops
