#include "kernels/ops/norm/norm.hpp"

#include "kernels/cuda/cuda_bodies.hpp"
#include "kernels/cuda/gradient.hpp"
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
};

struct RowStatistics {
    float mean;
    float rstd;
};

/// Of a row whose sum or squares are more than a float holds: without this it would become 0, and a model that diverges
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
__device__ RowStatistics statistics(const float* x, index_t cols, float eps, const cuda::Team& team) {
    const auto width = static_cast<float>(cols);
    float mean = 0.0F;
    if constexpr (kind == NormKind::layer) {
        float own = 0.0F;
        for (index_t i = team.thread; i < cols; i += team.size) own += x[i];
        mean = team.sum(own) / width;
    }
    float own = 0.0F;
    for (index_t i = team.thread; i < cols; i += team.size) own += (x[i] - mean) * (x[i] - mean);
    const float rstd = 1.0F / sqrtf(team.sum(own) / width + eps);
    if (rstd > 0.0F) return {mean, rstd};
    return statistics_in_double<kind>(x, cols, eps, team);
}

template <NormKind kind>
void norm_rows(const NormRows& rows, const Context& context) {
    const NormRows op = rows;
    cuda::for_rows(context, op.x.rows, op.x.cols, [=] __device__(index_t t, const cuda::Team& team) {
        const float* x = op.x.row(t);
        if (op.residual.data != nullptr) {
            float* const sum = op.sum.row(t);
            // A thread reads again what it has written itself: all loops give it the same columns.
            for (index_t i = team.thread; i < op.x.cols; i += team.size) sum[i] = x[i] + op.residual(t, i);
            x = sum;
        }
        const RowStatistics row = statistics<kind>(x, op.x.cols, op.eps, team);
        if (team.thread == 0) {
            op.rstd[t] = row.rstd;
            if (kind == NormKind::layer) op.mean[t] = row.mean;
        }
        float* const y = op.y.row(t);
        for (index_t i = team.thread; i < op.x.cols; i += team.size) {
            const float value = (x[i] - row.mean) * row.rstd * op.gain[i];
            y[i] = op.bias == nullptr ? value : value + op.bias[i];
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

    __device__ float centred(index_t t, index_t i) const {
        return mean == nullptr ? x(t, i) : x(t, i) - mean[t];
    }
};

/// addends[block] = the gradients of the gain over the rows of a block in order, and of the bias if it is there.
void gradient_addends(const BackwardRows& rows, index_t block_rows, cuda::Matrix<float> dgain,
                      cuda::Matrix<float> dbias, const Context& context) {
    const BackwardRows op = rows;
    cuda::for_matrix(context, dgain.rows, dgain.cols, [=] __device__(index_t block, index_t i) {
        const index_t begin = block * block_rows;
        const index_t end = begin + block_rows < op.x.rows ? begin + block_rows : op.x.rows;
        float gain = 0.0F;
        float bias = 0.0F;
        for (index_t t = begin; t < end; ++t) {
            gain += op.dy(t, i) * op.centred(t, i) * op.rstd[t];
            bias += op.dy(t, i);
        }
        dgain(block, i) = gain;
        if (dbias.data != nullptr) dbias(block, i) = bias;
    });
}

/// dx = or += rstd * (dy * gain - mean(dy * gain) - xhat * mean(dy * gain * xhat)); rms without the first mean.
void gradient_rows(const BackwardRows& rows, const Context& context) {
    const BackwardRows op = rows;
    cuda::for_rows(context, op.x.rows, op.x.cols, [=] __device__(index_t t, const cuda::Team& team) {
        const auto width = static_cast<float>(op.x.cols);
        const float rstd = op.rstd[t];
        float slopes = 0.0F;
        float products = 0.0F;
        for (index_t i = team.thread; i < op.x.cols; i += team.size) {
            const float slope = op.dy(t, i) * op.gain[i];
            slopes += slope;
            products += slope * op.centred(t, i);
        }
        const float shift = team.sum(products) / width * rstd * rstd * rstd;
        const float direct_mean = op.mean == nullptr ? 0.0F : team.sum(slopes) / width;
        for (index_t i = team.thread; i < op.x.cols; i += team.size) {
            const float direct = op.dy(t, i) * op.gain[i] - direct_mean;
            const float change = direct * rstd - op.centred(t, i) * shift;
            op.dx(t, i) = op.write == Write::add ? op.dx(t, i) + change : change;
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
         cuda::values<float>(statistics.mean)},
        context);
}

void on_cuda::add_norm(const Norm& rule, const AddNorm& rows, const NormStatistics& statistics,
                       const Context& context) {
    run(rule,
        {cuda::view<const float>(rows.x), cuda::view<const float>(rows.residual),
         cuda::values<const float>(rule.gain), cuda::values<const float>(rule.bias), rule.eps,
         cuda::view<float>(rows.sum), cuda::view<float>(rows.y), cuda::values<float>(statistics.rstd),
         cuda::values<float>(statistics.mean)},
        context);
}

void on_cuda::norm_backward(const Norm& rule, const NormBackward& in, TensorRef dx,
                            const NormGradients& gradients, const Context& context) {
    const index_t num_blocks = ceil_div(in.x.rows(), in.block_rows);
    if (num_blocks == 0) return;
    const BackwardRows op{cuda::view<const float>(in.x),
                          cuda::view<const float>(in.dy),
                          cuda::values<const float>(in.rstd),
                          rule.kind == NormKind::layer ? cuda::values<const float>(in.mean) : nullptr,
                          cuda::values<const float>(rule.gain),
                          cuda::view<float>(dx),
                          in.write};
    Tensor gain(context.device, DType::f32, {num_blocks, in.x.cols()});
    Tensor bias(context.device, DType::f32, {rule.bias.is_null() ? 0 : num_blocks, in.x.cols()});
    // Before dx is written, which may be dy.
    gradient_addends(op, in.block_rows, cuda::view<float>(gain.ref()), cuda::view<float>(bias.ref()),
                     context);
    gradient_rows(op, context);
    cuda::add_blocks(cuda::view<const float>(gain.ref()), cuda::Gradient(gradients.gain), context);
    if (!rule.bias.is_null())
        cuda::add_blocks(cuda::view<const float>(bias.ref()), cuda::Gradient(gradients.bias), context);
}

}  // namespace sy::ops
