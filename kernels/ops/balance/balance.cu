#include "kernels/ops/balance/balance.hpp"

#include "kernels/cuda/cuda_bodies.hpp"
#include "kernels/cuda/exact_words.hpp"
#include "kernels/cuda/host_list.hpp"
#include "kernels/ops/balance/shares.cuh"

namespace sy::ops {
namespace {

/// Tokens that one thread adds up before it adds to the sums of all.
constexpr index_t kTokensOfThread = 64;
constexpr auto kWords = static_cast<index_t>(ExactSum::kNumWords);

/// Queues body(sum_idx, first token, end) for parts of the tokens and each sum.
template <class Body>
void for_parts(index_t tokens, index_t num_sums, const Context& context, Body body) {
    cuda::for_matrix(context, ceil_div(tokens, kTokensOfThread), num_sums,
                     [=] __device__(index_t part, index_t sum_idx) {
                         const index_t end = (part + 1) * kTokensOfThread;
                         body(sum_idx, part * kTokensOfThread, end < tokens ? end : tokens);
                     });
}

}  // namespace

void on_cuda::share_sums(Score kind, ConstTensorRef scores, TensorRef sums, const Context& context) {
    const auto scores_te = cuda::view<const float>(scores);
    const Tensor units = on_gpu::share_units(kind, scores_te, context);
    const double* const unit_t = on_gpu::first_unit(units);
    std::int64_t* const words = cuda::values<std::int64_t>(sums);
    const index_t size = scores_te.cols / sums.rows();
    for_parts(scores_te.rows, sums.rows(), context, [=] __device__(index_t g, index_t begin, index_t end) {
        ExactSum own;
        for (index_t t = begin; t < end; ++t) {
            double total = 0.0;
            for (index_t e = g * size; e < (g + 1) * size; ++e) total += static_cast<double>(scores_te(t, e));
            own.add(unit_t == nullptr ? total : unit_t[t] * total);
        }
        cuda::add_exactly(words + g * kWords, own);
    });
    cuda::carry_words(sums, context);
}

void on_cuda::choice_sums(ConstTensorRef expert, ConstTensorRef value, TensorRef sums,
                          const Context& context) {
    const auto expert_tk = cuda::view<const std::int32_t>(expert);
    const auto value_tk = cuda::view<const float>(value);
    std::int64_t* const words = cuda::values<std::int64_t>(sums);
    cuda::for_matrix(context, expert_tk.rows, expert_tk.cols, [=] __device__(index_t t, index_t j) {
        if (expert_tk(t, j) < 0) return;
        ExactSum own;
        own.add(static_cast<double>(value_tk(t, j)));
        cuda::add_exactly(words + expert_tk(t, j) * kWords, own);
    });
    cuda::carry_words(sums, context);
}

void on_cuda::add_to_choices(ConstTensorRef expert, std::span<const float> factors, TensorRef values,
                             const Context& context) {
    const cuda::HostList<float> list(factors, context);
    const float* const factor = list.data();
    const auto expert_tk = cuda::view<const std::int32_t>(expert);
    const auto values_tk = cuda::view<float>(values);
    cuda::for_matrix(context, expert_tk.rows, expert_tk.cols, [=] __device__(index_t t, index_t j) {
        if (expert_tk(t, j) >= 0) values_tk(t, j) += factor[expert_tk(t, j)];
    });
}

void on_cuda::count_reached(ConstTensorRef expert, index_t run_size, TensorRef sums, const Context& context) {
    const auto expert_tk = cuda::view<const std::int32_t>(expert);
    std::int64_t* const words = cuda::values<std::int64_t>(sums);
    cuda::for_matrix(context, expert_tk.rows, expert_tk.cols, [=] __device__(index_t t, index_t j) {
        if (expert_tk(t, j) < 0) return;
        const index_t run = expert_tk(t, j) / run_size;
        // The first choice in a run counts for all.
        for (index_t earlier = 0; earlier < j; ++earlier) {
            if (expert_tk(t, earlier) >= 0 && expert_tk(t, earlier) / run_size == run) return;
        }
        ExactSum own;
        own.add(1.0);
        cuda::add_exactly(words + run * kWords, own);
    });
    cuda::carry_words(sums, context);
}

void on_cuda::square_sum(ConstTensorRef values, TensorRef sum, const Context& context) {
    const float* const value = cuda::values<const float>(values);
    std::int64_t* const words = cuda::values<std::int64_t>(sum);
    for_parts(values.num_elements(), 1, context, [=] __device__(index_t, index_t begin, index_t end) {
        ExactSum own;
        for (index_t t = begin; t < end; ++t)
            own.add(static_cast<double>(value[t]) * static_cast<double>(value[t]));
        cuda::add_exactly(words, own);
    });
    cuda::carry_words(sum, context);
}

void on_cuda::add_scaled(double factor, ConstTensorRef x, TensorRef y, const Context& context) {
    const float* const from = cuda::values<const float>(x);
    float* const to = cuda::values<float>(y);
    cuda::for_elements(context, y.num_elements(), [=] __device__(index_t i) {
        to[i] += static_cast<float>(factor * static_cast<double>(from[i]));
    });
}

}  // namespace sy::ops
