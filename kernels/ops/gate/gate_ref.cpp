#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "kernels/ops/gate/gate.hpp"

namespace sy::ops::ref {

void gate_softmax(MatrixView<const float> logits, MatrixView<float> scores, std::span<float> lse) {
    for (index_t t = 0; t < logits.rows; ++t) {
        double largest = -HUGE_VAL;
        for (index_t e = 0; e < logits.cols; ++e)
            largest = std::max(largest, static_cast<double>(logits(t, e)));
        double sum = 0.0;
        for (index_t e = 0; e < logits.cols; ++e)
            sum += std::exp(static_cast<double>(logits(t, e)) - largest);
        for (index_t e = 0; e < logits.cols; ++e) {
            scores(t, e) = static_cast<float>(std::exp(static_cast<double>(logits(t, e)) - largest) / sum);
        }
        lse[static_cast<std::size_t>(t)] = static_cast<float>(largest + std::log(sum));
    }
}

void gate_top_k(MatrixView<const float> scores, Renormalise renormalise, MatrixView<std::int32_t> expert,
                MatrixView<float> weight) {
    for (index_t t = 0; t < scores.rows; ++t) {
        std::vector<std::int32_t> order(static_cast<std::size_t>(scores.cols));
        std::iota(order.begin(), order.end(), 0);
        std::stable_sort(order.begin(), order.end(),
                         [&](auto a, auto b) { return scores(t, a) > scores(t, b); });
        double sum = 0.0;
        for (index_t j = 0; j < expert.cols; ++j)
            sum += static_cast<double>(scores(t, order[static_cast<std::size_t>(j)]));
        for (index_t j = 0; j < expert.cols; ++j) {
            expert(t, j) = order[static_cast<std::size_t>(j)];
            const double score = static_cast<double>(scores(t, expert(t, j)));
            weight(t, j) = static_cast<float>(renormalise == Renormalise::yes ? score / sum : score);
        }
    }
}

void gate_backward(const GateBackward& in, MatrixView<float> dlogits) {
    for (index_t t = 0; t < in.scores.rows; ++t) {
        std::vector<double> dscore(static_cast<std::size_t>(in.scores.cols), 0.0);
        for (std::size_t e = 0; e < in.dscore.size(); ++e) dscore[e] = static_cast<double>(in.dscore[e]);
        double sum = 0.0;
        double dot = 0.0;
        for (index_t j = 0; j < in.expert.cols; ++j) {
            const double score = static_cast<double>(in.scores(t, in.expert(t, j)));
            sum += score;
            dot += score * static_cast<double>(in.dweight(t, j));
        }
        for (index_t j = 0; j < in.expert.cols; ++j) {
            const double direct = static_cast<double>(in.dweight(t, j));
            dscore[static_cast<std::size_t>(in.expert(t, j))] +=
                in.renormalise == Renormalise::yes ? direct / sum - dot / (sum * sum) : direct;
        }
        double inner = 0.0;
        for (index_t e = 0; e < in.scores.cols; ++e) {
            inner += dscore[static_cast<std::size_t>(e)] * static_cast<double>(in.scores(t, e));
        }
        const double dlse = in.dlse.empty() ? 0.0 : static_cast<double>(in.dlse[static_cast<std::size_t>(t)]);
        for (index_t e = 0; e < in.scores.cols; ++e) {
            dlogits(t, e) = static_cast<float>(static_cast<double>(in.scores(t, e)) *
                                               (dscore[static_cast<std::size_t>(e)] - inner + dlse));
        }
    }
}

}  // namespace sy::ops::ref
