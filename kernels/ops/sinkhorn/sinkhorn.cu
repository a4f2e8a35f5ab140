#include "kernels/ops/sinkhorn/sinkhorn.hpp"

#include "kernels/cuda/cuda_bodies.hpp"
#include "kernels/cuda/exact_words.hpp"
#include "kernels/cuda/host_list.hpp"
#include "kernels/cuda/team.hpp"

namespace sy::ops {

void on_cuda::sinkhorn_powers(ConstTensorRef logits, TensorRef powers, const Context& context) {
    const auto logits_te = cuda::view<const float>(logits);
    const auto powers_te = cuda::view<float>(powers);
    // What the CPU's exponential, which knows no subnormal numbers, makes 0.
    constexpr float kVanishes = -86.99F;
    cuda::for_rows(context, logits_te.rows, logits_te.cols,
                   [=] __device__(index_t t, const cuda::Team& team) {
                       float highest = -__builtin_inff();
                       for (index_t e = team.thread; e < logits_te.cols; e += team.size)
                           highest = highest > logits_te(t, e) ? highest : logits_te(t, e);
                       highest = team.largest(highest);
                       for (index_t e = team.thread; e < logits_te.cols; e += team.size) {
                           const float below = logits_te(t, e) - highest;
                           powers_te(t, e) = below < kVanishes ? 0.0F : expf(below);
                       }
                   });
}

void on_cuda::sinkhorn_columns(ConstTensorRef powers, std::span<const double> factors, TensorRef sums,
                               const Context& context) {
    const auto powers_te = cuda::view<const float>(powers);
    const cuda::HostList<double> list(factors, context);
    const double* const factor = list.data();
    Tensor scales(context.device, DType::f64, {powers_te.rows});
    double* const scale = cuda::values<double>(scales.ref());
    // From a row's powers to units of ExactSum of its plan; 0 for rows without a place in it.
    cuda::for_elements(context, powers_te.rows, [=] __device__(index_t t) {
        double total = 0.0;
        for (index_t e = 0; e < powers_te.cols; ++e)
            total += factor[e] * static_cast<double>(powers_te(t, e));
        scale[t] = total > 0.0 ? 1.0 / (total * ExactSum::kUnit) : 0.0;
    });
    auto* const words = reinterpret_cast<unsigned long long*>(cuda::values<std::int64_t>(sums));
    SY_CUDA(cudaMemsetAsync(words, 0, static_cast<std::size_t>(sums.num_elements()) * sizeof(*words),
                            cuda::stream_of(context)));
    constexpr index_t kTokensOfThread = 64;
    cuda::for_matrix(context, ceil_div(powers_te.rows, kTokensOfThread), powers_te.cols,
                     [=] __device__(index_t part, index_t e) {
                         const index_t end = (part + 1) * kTokensOfThread;
                         // Entries of a plan are at most 1: the last digit holds 2^26 tokens before it is carried.
                         unsigned long long units = 0;
                         for (index_t t = part * kTokensOfThread; t < end && t < powers_te.rows; ++t) {
                             if (scale[t] == 0.0) continue;
                             units += static_cast<unsigned long long>(
                                 factor[e] * static_cast<double>(powers_te(t, e)) * scale[t] + 0.5);
                         }
                         constexpr auto kWords = static_cast<index_t>(ExactSum::kNumWords);
                         atomicAdd(words + e * kWords + 2, units);
                     });
    cuda::carry_words(sums, context);
}

void on_cuda::sinkhorn_log_plan(ConstTensorRef logits, std::span<const double> log_factors, TensorRef plan,
                                const Context& context) {
    const auto logits_te = cuda::view<const float>(logits);
    const auto plan_te = cuda::view<float>(plan);
    const cuda::HostList<double> list(log_factors, context);
    const double* const log_factor = list.data();
    cuda::for_matrix(context, plan_te.rows, plan_te.cols, [=] __device__(index_t t, index_t e) {
        plan_te(t, e) = static_cast<float>(static_cast<double>(logits_te(t, e)) + log_factor[e]);
    });
}

}  // namespace sy::ops
