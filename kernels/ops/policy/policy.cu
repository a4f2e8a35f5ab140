#include "kernels/ops/policy/policy.hpp"

#include "kernels/cuda/cuda_bodies.hpp"
#include "kernels/cuda/team.hpp"
#include "kernels/cuda/view.hpp"

namespace sy::ops {

void on_cuda::policy_keys(ConstTensorRef logits, const RandomKey& key, index_t first_token, TensorRef keys,
                          const Context& context) {
    const auto logits_te = cuda::view<const float>(logits);
    const auto keys_te = cuda::view<float>(keys);
    const RandomKey stream = key;
    cuda::for_matrix(context, keys_te.rows, keys_te.cols, [=] __device__(index_t t, index_t e) {
        const auto element = static_cast<std::uint64_t>((first_token + t) * keys_te.cols + e);
        const double gumbel = gumbel_from(philox(stream, element / 4)[element % 4]);
        keys_te(t, e) = static_cast<float>(static_cast<double>(logits_te(t, e)) + gumbel);
    });
}

void on_cuda::policy_advantage(const PolicyBaseline& in, TensorRef advantage, const Context& context) {
    const auto x_th = cuda::view<const float>(in.x);
    const auto slope_h1 = cuda::view<const float>(in.slope);
    const float* const offset_1 = cuda::values<const float>(in.offset);
    const float* const token_loss_t = cuda::values<const float>(in.token_loss);
    double* const advantage_t = cuda::values<double>(advantage);
    cuda::for_elements(context, x_th.rows, [=] __device__(index_t t) {
        auto baseline = static_cast<double>(offset_1[0]);
        for (index_t h = 0; h < x_th.cols; ++h)
            baseline += static_cast<double>(x_th(t, h)) * static_cast<double>(slope_h1(h, 0));
        advantage_t[t] = -static_cast<double>(token_loss_t[t]) - baseline;
    });
}

void on_cuda::policy_baseline_backward(double factor, ConstTensorRef advantage, TensorRef dbaseline,
                                       const Context& context) {
    const double* const advantage_t = cuda::values<const double>(advantage);
    float* const dbaseline_t = cuda::values<float>(dbaseline);
    cuda::for_elements(context, dbaseline.num_elements(), [=] __device__(index_t t) {
        dbaseline_t[t] = static_cast<float>(factor * advantage_t[t]);
    });
}

namespace {

/// The policy of one token, and where its gradient is added up.
struct Policy {
    cuda::Matrix<const float> logits;
    const float* lse;
    cuda::Matrix<const std::int32_t> draws;
    cuda::Matrix<double> gradient;

    __device__ double log_probability(index_t t, index_t e) const {
        return static_cast<double>(logits(t, e)) - static_cast<double>(lse[t]);
    }
    /// 0 where it was drawn before draw j.
    __device__ double probability_left(index_t t, index_t e, index_t j) const {
        for (index_t earlier = 0; earlier < j; ++earlier) {
            if (draws(t, earlier) == e) return 0.0;
        }
        return exp(log_probability(t, e));
    }

    /// d log pi(draws) / d logits, times `factor`: at each draw 1 for its expert, minus the softmax over those left.
    __device__ void add_draws(index_t t, double factor, const cuda::Team& team) const {
        for (index_t j = 0; j < draws.cols; ++j) {
            double own = 0.0;
            for (index_t e = team.thread; e < logits.cols; e += team.size) own += probability_left(t, e, j);
            const double sum = team.sum(own);
            // Experts whose probability rounds to 0 are drawn only when nothing else is left.
            if (sum <= 0.0) return;
            for (index_t e = team.thread; e < logits.cols; e += team.size) {
                if (draws(t, j) == e) gradient(t, e) += factor;
                gradient(t, e) -= factor * probability_left(t, e, j) / sum;
            }
        }
    }

    /// d H / d logits, times `factor`: -p (log p + H).
    __device__ void add_entropy(index_t t, double factor, const cuda::Team& team) const {
        double own = 0.0;
        for (index_t e = team.thread; e < logits.cols; e += team.size)
            own -= probability_left(t, e, 0) * log_probability(t, e);
        const double entropy = team.sum(own);
        for (index_t e = team.thread; e < logits.cols; e += team.size)
            gradient(t, e) -= factor * probability_left(t, e, 0) * (log_probability(t, e) + entropy);
    }
};

}  // namespace

void on_cuda::policy_backward(const PolicyLoss& in, TensorRef dlogits, const Context& context) {
    Tensor memory(context.device, DType::f64, {in.logits.rows(), in.logits.cols()});
    const Policy policy{cuda::view<const float>(in.logits), cuda::values<const float>(in.lse),
                        cuda::view<const std::int32_t>(in.draws), cuda::view<double>(memory.ref())};
    const double* const advantage_t = cuda::values<const double>(in.advantage);
    const auto dlogits_te = cuda::view<float>(dlogits);
    const double share = in.share;
    const double entropy_bonus = in.entropy_bonus;
    cuda::for_rows(context, dlogits_te.rows, dlogits_te.cols,
                   [=] __device__(index_t t, const cuda::Team& team) {
                       // Each thread has its own columns throughout.
                       for (index_t e = team.thread; e < dlogits_te.cols; e += team.size)
                           policy.gradient(t, e) = 0.0;
                       policy.add_draws(t, -share * advantage_t[t], team);
                       if (entropy_bonus != 0.0) policy.add_entropy(t, -share * entropy_bonus, team);
                       for (index_t e = team.thread; e < dlogits_te.cols; e += team.size)
                           dlogits_te(t, e) += static_cast<float>(policy.gradient(t, e));
                   });
}

}  // namespace sy::ops
