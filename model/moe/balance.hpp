#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/core/tensor.hpp"
#include "model/config.hpp"

/// Losses that keep the load even and the router's logits small, and their gradients.
namespace sy::model {

/// Sums that ranks add: fixed point of 2^-36, so that they do not depend on the layout.
inline constexpr double kSumUnit = 0x1p-36;
std::int64_t to_sum(double value);
inline double from_sum(std::int64_t sum) {
    return static_cast<double>(sum) * kSumUnit;
}

/// sums[e] += the scores of expert e over this rank's tokens, as fixed point.
void add_score_sums(MatrixView<const float> scores, std::span<std::int64_t> sums);

/// E / K * sum_i f_i P_i, f_i = load_i / T, P_i = mean score: 1 when uniform.
/// @par Source  Fedus et al., arXiv:2101.03961, eq. 4; Lepikhin et al., arXiv:2006.16668
double switch_loss(std::span<const index_t> load, std::span<const std::int64_t> score_sums,
                   index_t global_tokens, index_t top_k);
/// Gradient with respect to each token's score of expert e, times `scale`. [E]
std::vector<float> switch_gradient(std::span<const index_t> load, index_t global_tokens, index_t top_k,
                                   double scale);

/// Sum over this rank's tokens of logsumexp^2; the loss is its mean over the global batch.
/// @par Source  Zoph et al., ST-MoE, arXiv:2202.08906, eq. 5
std::int64_t z_loss_sum(std::span<const float> lse);
/// d/dlse of scale * mean lse^2. [T]
std::vector<float> z_gradient(std::span<const float> lse, index_t global_tokens, double scale);

}  // namespace sy::model
