#include "kernels/cuda/cuda_bodies.hpp"
#include "kernels/cuda/exact_words.hpp"
#include "kernels/ops/balance/balance.hpp"
#include "kernels/ops/balance/shares.cuh"

namespace sy::ops {

void on_cuda::sequence_frequencies(ConstTensorRef expert, double unit, TensorRef frequency,
                                   const Context& context) {
    const auto expert_tk = cuda::view<const std::int32_t>(expert);
    const auto frequency_se = cuda::view<double>(frequency);
    if (frequency_se.rows == 0) return;
    const index_t length = expert_tk.rows / frequency_se.rows;
    cuda::for_matrix(context, frequency_se.rows, frequency_se.cols, [=] __device__(index_t s, index_t e) {
        double sum = 0.0;
        for (index_t t = s * length; t < (s + 1) * length; ++t) {
            for (index_t j = 0; j < expert_tk.cols; ++j) sum += expert_tk(t, j) == e ? unit : 0.0;
        }
        frequency_se(s, e) = sum;
    });
}

void on_cuda::sequence_sum(Score kind, ConstTensorRef scores, ConstTensorRef frequency, TensorRef sum,
                           const Context& context) {
    const auto scores_te = cuda::view<const float>(scores);
    const auto frequency_se = cuda::view<const double>(frequency);
    if (frequency_se.rows == 0) return;
    const index_t length = scores_te.rows / frequency_se.rows;
    const Tensor units = on_gpu::share_units(kind, scores_te, context);
    const double* const unit_t = on_gpu::first_unit(units);
    Tensor tokens(context.device, DType::f64, {scores_te.rows});
    double* const token = cuda::values<double>(tokens.ref());
    cuda::for_elements(context, scores_te.rows, [=] __device__(index_t t) {
        double of_token = 0.0;
        for (index_t e = 0; e < scores_te.cols; ++e)
            of_token += frequency_se(t / length, e) * static_cast<double>(scores_te(t, e));
        token[t] = unit_t == nullptr ? of_token : of_token * unit_t[t];
    });
    std::int64_t* const words = cuda::values<std::int64_t>(sum);
    cuda::for_elements(context, frequency_se.rows, [=] __device__(index_t s) {
        double of_sequence = 0.0;
        for (index_t t = s * length; t < (s + 1) * length; ++t) of_sequence += token[t];
        ExactSum own;
        own.add(of_sequence / static_cast<double>(length));
        cuda::add_exactly(words, own);
    });
    cuda::carry_words(sum, context);
}

void on_cuda::sequence_backward(double scale, ConstTensorRef frequency, TensorRef dshare,
                                const Context& context) {
    const auto frequency_se = cuda::view<const double>(frequency);
    const auto dshare_te = cuda::view<float>(dshare);
    if (frequency_se.rows == 0) return;
    const index_t length = dshare_te.rows / frequency_se.rows;
    cuda::for_matrix(context, dshare_te.rows, dshare_te.cols, [=] __device__(index_t t, index_t e) {
        dshare_te(t, e) += static_cast<float>(scale * frequency_se(t / length, e));
    });
}

}  // namespace sy::ops
