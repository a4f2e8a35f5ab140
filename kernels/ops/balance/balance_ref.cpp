#include <algorithm>
#include <numeric>
#include <vector>

#include "kernels/core/host_view.hpp"
#include "kernels/ops/balance/balance.hpp"
#include "kernels/ops/balance/operands.hpp"
#include "kernels/ops/gate/gate.hpp"

namespace sy::ops::ref {
namespace {

std::vector<double> shares(Score kind, MatrixView<const float> scores, index_t token) {
    std::vector<double> share(scores.row_span(token).begin(), scores.row_span(token).end());
    const double sum = std::accumulate(share.begin(), share.end(), static_cast<double>(kLeastScoreSum));
    if (kind == Score::sigmoid)
        std::ranges::transform(share, share.begin(), [&](double s) { return s / sum; });
    return share;
}

}  // namespace

void share_sums(Score kind, MatrixView<const float> scores, std::span<double> sums) {
    for (index_t t = 0; t < scores.rows; ++t) {
        const std::vector<double> share = shares(kind, scores, t);
        for (std::size_t e = 0; e < share.size(); ++e) sums[e / (share.size() / sums.size())] += share[e];
    }
}

void sequence_frequencies(MatrixView<const std::int32_t> expert, double unit, MatrixView<double> frequency) {
    for (index_t s = 0; s < frequency.rows; ++s) {
        for (index_t e = 0; e < frequency.cols; ++e) {
            index_t count = 0;
            for (index_t t = 0; t < expert.rows; ++t) {
                if (t / (expert.rows / frequency.rows) == s)
                    count += std::ranges::count(expert.row_span(t), e);
            }
            frequency(s, e) = unit * static_cast<double>(count);
        }
    }
}

double sequence_sum(Score kind, MatrixView<const float> scores, MatrixView<const double> frequency) {
    const index_t length = scores.rows / frequency.rows;
    double sum = 0.0;
    for (index_t t = 0; t < scores.rows; ++t) {
        const std::vector<double> share = shares(kind, scores, t);
        sum += std::inner_product(share.begin(), share.end(), frequency.row(t / length), 0.0) /
               static_cast<double>(length);
    }
    return sum;
}

void chance_distances(const Chances& in, MatrixView<float> distance) {
    const detail::ChanceOperands chances(in);
    const index_t top_k = chances.best.cols - 1;
    for (index_t t = 0; t < distance.rows; ++t) {
        for (index_t e = 0; e < distance.cols; ++e) {
            std::vector<float> others;
            for (index_t other = 0; other < distance.cols; ++other) {
                if (other != e) others.push_back(chances.logits(t, other));
            }
            std::ranges::sort(others, std::greater<>());
            const double above = static_cast<double>(chances.clean(t, e)) -
                                 static_cast<double>(others[static_cast<std::size_t>(top_k - 1)]);
            distance(t, e) = static_cast<float>(above / static_cast<double>(chances.scale(t, e)));
        }
    }
}

}  // namespace sy::ops::ref
