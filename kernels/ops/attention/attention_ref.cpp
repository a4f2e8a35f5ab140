#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/ops/attention/attention.hpp"

namespace sy::ops::ref {
namespace {

/// Probabilities of query row i over keys 0 .. i, in double.
std::vector<double> probabilities(const AttentionShape& shape, MatrixView<const float> q,
                                  MatrixView<const float> k, index_t first_row, index_t i, index_t head) {
    const index_t kv_head = head / (shape.heads / shape.kv_heads);
    std::vector<double> p;
    for (index_t j = 0; j <= i; ++j) {
        double score = 0.0;
        for (index_t d = 0; d < shape.head_dim; ++d) {
            score += static_cast<double>(q(first_row + i, head * shape.head_dim + d)) *
                     static_cast<double>(k(first_row + j, kv_head * shape.head_dim + d));
        }
        p.push_back(score * static_cast<double>(shape.scale));
    }
    const double largest = *std::max_element(p.begin(), p.end());
    double sum = 0.0;
    for (double& value : p) sum += value = std::exp(value - largest);
    for (double& value : p) value /= sum;
    return p;
}

template <class Body>
void for_rows(const AttentionShape& shape, const Body& body) {
    for (index_t sequence = 0; sequence < shape.num_sequences; ++sequence) {
        for (index_t head = 0; head < shape.heads; ++head) {
            for (index_t i = 0; i < shape.seq_len; ++i) body(sequence * shape.seq_len, head, i);
        }
    }
}

}  // namespace

void attention(const AttentionShape& shape, MatrixView<const float> q, MatrixView<const float> k,
               MatrixView<const float> v, MatrixView<float> out) {
    for_rows(shape, [&](index_t first_row, index_t head, index_t i) {
        const std::vector<double> p = probabilities(shape, q, k, first_row, i, head);
        const index_t kv_head = head / (shape.heads / shape.kv_heads);
        for (index_t d = 0; d < shape.head_dim; ++d) {
            double sum = 0.0;
            for (index_t j = 0; j <= i; ++j) {
                sum += p[static_cast<std::size_t>(j)] *
                       static_cast<double>(v(first_row + j, kv_head * shape.head_dim + d));
            }
            out(first_row + i, head * shape.head_dim + d) = static_cast<float>(sum);
        }
    });
}

void attention_backward(const AttentionShape& shape, const AttentionBackward& op) {
    const index_t rows = shape.num_sequences * shape.seq_len;
    const index_t kv_width = shape.kv_heads * shape.head_dim;
    std::vector<double> dq(static_cast<std::size_t>(rows * shape.heads * shape.head_dim), 0.0);
    std::vector<double> dk(static_cast<std::size_t>(rows * kv_width), 0.0);
    std::vector<double> dv = dk;
    for_rows(shape, [&](index_t first_row, index_t head, index_t i) {
        const std::vector<double> p = probabilities(shape, op.q, op.k, first_row, i, head);
        const index_t q_col = head * shape.head_dim;
        const index_t kv_col = head / (shape.heads / shape.kv_heads) * shape.head_dim;
        std::vector<double> dp(p.size(), 0.0);
        double mean = 0.0;
        for (std::size_t j = 0; j < p.size(); ++j) {
            const index_t row = first_row + static_cast<index_t>(j);
            for (index_t d = 0; d < shape.head_dim; ++d) {
                const double dout = static_cast<double>(op.dout(first_row + i, q_col + d));
                dp[j] += dout * static_cast<double>(op.v(row, kv_col + d));
                dv[static_cast<std::size_t>(row * kv_width + kv_col + d)] += p[j] * dout;
            }
            mean += p[j] * dp[j];
        }
        for (std::size_t j = 0; j < p.size(); ++j) {
            const double ds = p[j] * (dp[j] - mean) * static_cast<double>(shape.scale);
            const index_t row = first_row + static_cast<index_t>(j);
            for (index_t d = 0; d < shape.head_dim; ++d) {
                dq[static_cast<std::size_t>((first_row + i) * shape.heads * shape.head_dim + q_col + d)] +=
                    ds * static_cast<double>(op.k(row, kv_col + d));
                dk[static_cast<std::size_t>(row * kv_width + kv_col + d)] +=
                    ds * static_cast<double>(op.q(first_row + i, q_col + d));
            }
        }
    });
    for (index_t t = 0; t < rows; ++t) {
        for (index_t c = 0; c < op.dq.cols; ++c)
            op.dq(t, c) = static_cast<float>(dq[static_cast<std::size_t>(t * op.dq.cols + c)]);
        for (index_t c = 0; c < kv_width; ++c) {
            op.dk(t, c) = static_cast<float>(dk[static_cast<std::size_t>(t * kv_width + c)]);
            op.dv(t, c) = static_cast<float>(dv[static_cast<std::size_t>(t * kv_width + c)]);
        }
    }
}

}  // namespace sy::ops::ref
