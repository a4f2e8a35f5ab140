#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>
#include <vector>

#include "kernels/core/indexed.hpp"
#include "kernels/core/host_view.hpp"
#include "kernels/ops/gate/gate.hpp"
#include "kernels/ops/gate/operands.hpp"

namespace sy::ops::ref {
namespace {

double at(MatrixView<const float> values, index_t row, index_t col) {
    return values.data == nullptr ? 0.0 : static_cast<double>(values(row, col));
}

double at(std::span<const float> values, index_t i) {
    return values.empty() ? 0.0 : static_cast<double>(values[static_cast<std::size_t>(i)]);
}

struct GroupAxis;

}  // namespace

void gate_scores(Score kind, MatrixView<const float> logits, MatrixView<float> scores, std::span<float> lse) {
    const PerTokenSpan<float> lse_of = lse;
    for (index_t t = 0; t < logits.rows; ++t) {
        double largest = -HUGE_VAL;
        for (index_t e = 0; e < logits.cols; ++e) largest = std::max(largest, at(logits, t, e));
        double sum = 0.0;
        for (index_t e = 0; e < logits.cols; ++e) sum += std::exp(at(logits, t, e) - largest);
        for (index_t e = 0; e < logits.cols; ++e) {
            const double logit = at(logits, t, e);
            scores(t, e) = static_cast<float>(kind == Score::softmax ? std::exp(logit - largest) / sum
                                                                     : 1.0 / (1.0 + std::exp(-logit)));
        }
        lse_of[t] = static_cast<float>(largest + std::log(sum));
    }
}

void gate_top_k(MatrixView<const float> scores, MatrixView<std::int32_t> expert) {
    for (index_t t = 0; t < scores.rows; ++t) {
        PerExpert<std::int32_t> order(scores.cols);
        std::iota(order.begin(), order.end(), 0);
        std::stable_sort(order.begin(), order.end(),
                         [&](auto a, auto b) { return scores(t, a) > scores(t, b); });
        std::copy_n(order.begin(), expert.cols, expert.row(t));
    }
}

void gate_limit_groups(MatrixView<const float> scores, const GroupLimit& rule, MatrixView<float> open) {
    const index_t size = scores.cols / rule.groups;
    for (index_t t = 0; t < scores.rows; ++t) {
        Indexed<GroupAxis, float> total;
        for (index_t g = 0; g < rule.groups; ++g) {
            std::vector<float> row(scores.row(t) + g * size, scores.row(t) + (g + 1) * size);
            std::sort(row.begin(), row.end(), std::greater<>());
            total.push_back(std::accumulate(row.begin(), row.begin() + rule.counted, 0.0F));
        }
        Indexed<GroupAxis, index_t> order(rule.groups);
        std::iota(order.begin(), order.end(), index_t{0});
        std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return total[a] > total[b]; });
        for (index_t rank = rule.limit; rank < rule.groups; ++rank) total[order[rank]] = NAN;
        for (index_t e = 0; e < scores.cols; ++e) {
            const bool is_open = !std::isnan(total[e / size]);
            open(t, e) = is_open ? scores(t, e) : -HUGE_VALF;
        }
    }
}

void gate_weights(const GateWeights& in, MatrixView<float> weight) {
    const detail::WeightOperands operands(in);
    for (index_t t = 0; t < operands.expert.rows; ++t) {
        const auto score_of = [&](std::int32_t e) {
            if (e < 0) return 0.0;
            return operands.scores.data == nullptr ? 1.0 : at(operands.scores, t, e);
        };
        double sum = 0.0;
        for (index_t j = 0; j < operands.expert.cols; ++j) sum += score_of(operands.expert(t, j));
        for (index_t j = 0; j < operands.expert.cols; ++j) {
            const double score = score_of(operands.expert(t, j));
            weight(t, j) = static_cast<float>(
                static_cast<double>(operands.scale) *
                (operands.renormalised ? score / (sum + static_cast<double>(kLeastScoreSum)) : score));
        }
    }
}

void gate_backward(const GateBackward& in, MatrixView<float> dlogits) {
    const detail::BackwardOperands operands(in);
    const MatrixView<const float> scores = operands.forward.scores;
    const MatrixView<const std::int32_t> expert = operands.forward.expert;
    const bool renormalised = operands.forward.renormalised;
    for (index_t t = 0; t < scores.rows; ++t) {
        PerExpert<double> dscore(scores.cols);
        double row_sum = static_cast<double>(kLeastScoreSum);
        double mean = 0.0;
        for (index_t e = 0; e < scores.cols; ++e) {
            row_sum += at(scores, t, e);
            mean += at(scores, t, e) * (at(operands.dshare, e) + at(operands.token_dshare, t, e));
        }
        mean /= row_sum;
        for (index_t e = 0; e < scores.cols; ++e) {
            const double dshare = at(operands.dshare, e) + at(operands.token_dshare, t, e);
            dscore[e] = operands.kind == Score::softmax ? dshare : (dshare - mean) / row_sum;
        }
        double sum = static_cast<double>(kLeastScoreSum);
        double dot = 0.0;
        for (index_t j = 0; j < expert.cols; ++j) {
            if (expert(t, j) < 0) continue;
            sum += at(scores, t, expert(t, j));
            dot += at(scores, t, expert(t, j)) * at(operands.dweight, t, j);
        }
        for (index_t j = 0; j < expert.cols; ++j) {
            if (expert(t, j) < 0) continue;
            const double direct = at(operands.dweight, t, j);
            dscore[expert(t, j)] += static_cast<double>(operands.forward.scale) *
                                    (renormalised ? direct / sum - dot / (sum * sum) : direct);
        }
        double inner = 0.0;
        for (index_t e = 0; e < scores.cols; ++e) inner += dscore[e] * at(scores, t, e);
        for (index_t e = 0; e < scores.cols; ++e) {
            const double score = at(scores, t, e);
            const double direct = dscore[e];
            const double dlse = at(operands.dlse, t);
            const double through =
                operands.kind == Score::softmax
                    ? score * (direct - inner + dlse)
                    : score * (1.0 - score) * direct +
                          (dlse == 0.0 ? 0.0
                                       : dlse * std::exp(at(operands.logits, t, e) - at(operands.lse, t)));
            dlogits(t, e) = static_cast<float>(through + at(operands.dlogit, t, e));
        }
    }
}

}  // namespace sy::ops::ref
