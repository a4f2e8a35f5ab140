#include <algorithm>
#include <cmath>

#include "kernels/ops/softmax_xent/softmax_xent.hpp"

namespace sy::ops::ref {

void softmax_xent(MatrixView<float> logits, std::span<const std::int32_t> target, float scale,
                  std::span<float> loss, const OutputZLoss& z) {
    const auto sums = host_values<float>(z.lse);
    for (index_t t = 0; t < logits.rows; ++t) {
        const std::span<float> row = logits.row_span(t);
        const std::int32_t wanted = target[static_cast<std::size_t>(t)];
        const double largest = static_cast<double>(*std::max_element(row.begin(), row.end()));
        double denominator = 0.0;
        for (const float value : row) denominator += std::exp(static_cast<double>(value) - largest);
        loss[static_cast<std::size_t>(t)] =
            wanted < 0 ? 0.0F
                       : static_cast<float>(largest + std::log(denominator) -
                                            static_cast<double>(row[static_cast<std::size_t>(wanted)]));
        const double lse = wanted < 0 ? 0.0 : largest + std::log(denominator);
        if (!sums.empty()) sums[static_cast<std::size_t>(t)] = static_cast<float>(lse);
        if (scale == 0.0F) continue;
        for (std::size_t v = 0; v < row.size(); ++v) {
            const double probability = std::exp(static_cast<double>(row[v]) - largest) / denominator;
            const double hit = static_cast<std::int32_t>(v) == wanted ? 1.0 : 0.0;
            row[v] = wanted < 0 ? 0.0F
                                : static_cast<float>(static_cast<double>(scale) * (probability - hit) +
                                                     2.0 * static_cast<double>(z.scale) * lse * probability);
        }
    }
}

}  // namespace sy::ops::ref
