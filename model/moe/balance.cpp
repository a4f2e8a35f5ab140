#include "model/moe/balance.hpp"

#include <cmath>

namespace sy::model {

std::int64_t to_sum(double value) {
    return std::llrint(value / kSumUnit);
}

void add_score_sums(MatrixView<const float> scores, std::span<std::int64_t> sums) {
    for (index_t t = 0; t < scores.rows; ++t) {
        for (index_t e = 0; e < scores.cols; ++e)
            sums[static_cast<std::size_t>(e)] += to_sum(static_cast<double>(scores(t, e)));
    }
}

double switch_loss(std::span<const index_t> load, std::span<const std::int64_t> score_sums,
                   index_t global_tokens, index_t top_k) {
    double sum = 0.0;
    const auto tokens = static_cast<double>(global_tokens);
    for (std::size_t e = 0; e < load.size(); ++e) {
        sum += static_cast<double>(load[e]) / tokens * (from_sum(score_sums[e]) / tokens);
    }
    return static_cast<double>(load.size()) / static_cast<double>(top_k) * sum;
}

std::vector<float> switch_gradient(std::span<const index_t> load, index_t global_tokens, index_t top_k,
                                   double scale) {
    const auto tokens = static_cast<double>(global_tokens);
    const double factor = scale * static_cast<double>(load.size()) / static_cast<double>(top_k) / tokens;
    std::vector<float> gradient;
    for (const index_t count : load)
        gradient.push_back(static_cast<float>(factor * static_cast<double>(count) / tokens));
    return gradient;
}

std::int64_t z_loss_sum(std::span<const float> lse) {
    std::int64_t sum = 0;
    for (const float value : lse) sum += to_sum(static_cast<double>(value) * static_cast<double>(value));
    return sum;
}

std::vector<float> z_gradient(std::span<const float> lse, index_t global_tokens, double scale) {
    std::vector<float> gradient;
    const double factor = 2.0 * scale / static_cast<double>(global_tokens);
    for (const float value : lse) gradient.push_back(static_cast<float>(factor * static_cast<double>(value)));
    return gradient;
}

}  // namespace sy::model
