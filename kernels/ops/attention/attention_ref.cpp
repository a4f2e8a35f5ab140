#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/ops/attention/attention.hpp"

namespace sy::ops::ref {
namespace {

/// One query of one head, with the rows of the call where its sequence begins.
struct Query {
    index_t first_row;
    index_t first_key;
    index_t head;
    index_t i;
};

/// What one query gives to one key.
struct Weight {
    double probability = 0.0;  ///< before dropout
    double factor = 1.0;       ///< of dropout: 0, or 1 / (1 - p)
    double slope = 1.0;        ///< of the cap where the score stands
};

bool sees(const AttentionShape& shape, const Query& query, index_t j) {
    if (shape.visibility == Visibility::all) return true;
    const auto row = static_cast<std::size_t>(query.first_row + query.i);
    if (!shape.first_keys.empty() && j < shape.first_keys[row]) return false;
    return j <= query.i && (shape.window == 0 || j > query.i - shape.window);
}

double bias_of(const AttentionShape& shape, index_t head, index_t distance) {
    const PositionBias& bias = shape.bias;
    if (!bias.slopes.empty()) {
        const auto slope = static_cast<double>(bias.slopes[static_cast<std::size_t>(head)]);
        return -slope * std::fabs(static_cast<double>(distance));
    }
    if (bias.table.is_null()) return 0.0;
    const auto table = host<const float>(bias.table);
    const index_t bucket = t5_bucket(distance, table.rows, bias.max_distance, shape.visibility);
    return static_cast<double>(table(bucket, head));
}

double dropout_factor(const AttentionShape& shape, const Query& query, index_t j) {
    const AttentionDropout& dropout = shape.dropout;
    const index_t token = dropout.first_token + query.first_row + query.i;
    const index_t element = (token * shape.heads + query.head) * round_up(shape.num_keys(), 4) + j;
    if (uniform(dropout.key, static_cast<std::uint64_t>(element)) < dropout.probability) return 0.0;
    return 1.0 / (1.0 - static_cast<double>(dropout.probability));
}

/// Weights of a query over all keys of its sequence; those it does not see have probability 0.
std::vector<Weight> weights(const AttentionShape& shape, MatrixView<const float> q, MatrixView<const float> k,
                            const Query& query) {
    const index_t kv_head = query.head / (shape.heads / shape.kv_heads);
    std::vector<Weight> result(static_cast<std::size_t>(shape.num_keys()));
    std::vector<double> score(result.size(), -HUGE_VAL);
    for (index_t j = 0; j < shape.num_keys(); ++j) {
        if (!sees(shape, query, j)) continue;
        const auto at = static_cast<std::size_t>(j);
        double sum = 0.0;
        for (index_t d = 0; d < shape.head_dim; ++d) {
            sum += static_cast<double>(q(query.first_row + query.i, query.head * shape.head_dim + d)) *
                   static_cast<double>(k(query.first_key + j, kv_head * shape.head_dim + d));
        }
        sum *= static_cast<double>(shape.scale);
        if (shape.soft_cap > 0.0F) {
            const auto cap = static_cast<double>(shape.soft_cap);
            const double capped = std::tanh(sum / cap);
            result[at].slope = 1.0 - capped * capped;
            sum = cap * capped;
        }
        score[at] = sum + bias_of(shape, query.head, j - query.i);
        if (shape.dropout.probability > 0.0F) result[at].factor = dropout_factor(shape, query, j);
    }
    const double largest = *std::max_element(score.begin(), score.end());
    double total = 0.0;
    for (std::size_t j = 0; j < score.size(); ++j)
        total += result[j].probability = std::exp(score[j] - largest);
    for (Weight& weight : result) weight.probability /= total;
    return result;
}

template <class Body>
void for_queries(const AttentionShape& shape, const Body& body) {
    for (index_t sequence = 0; sequence < shape.num_sequences; ++sequence) {
        for (index_t head = 0; head < shape.heads; ++head) {
            for (index_t i = 0; i < shape.seq_len; ++i)
                body(Query{sequence * shape.seq_len, sequence * shape.num_keys(), head, i});
        }
    }
}

/// A matrix of sums in double, written out as float at the end.
struct Sums {
    index_t cols;
    std::vector<double> values;

    explicit Sums(MatrixView<const float> like)
        : cols(like.cols), values(static_cast<std::size_t>(like.rows * like.cols), 0.0) {}
    double& at(index_t row, index_t col) { return values[static_cast<std::size_t>(row * cols + col)]; }
    void write(MatrixView<float> target) {
        for (index_t row = 0; row < target.rows; ++row) {
            for (index_t col = 0; col < cols; ++col) target(row, col) = static_cast<float>(at(row, col));
        }
    }
};

}  // namespace

void attention(const AttentionShape& shape, MatrixView<const float> q, MatrixView<const float> k,
               MatrixView<const float> v, MatrixView<float> out) {
    const index_t width = shape.value_width();
    for_queries(shape, [&](const Query& query) {
        const std::vector<Weight> row = weights(shape, q, k, query);
        const index_t kv_head = query.head / (shape.heads / shape.kv_heads);
        for (index_t d = 0; d < width; ++d) {
            double sum = 0.0;
            for (index_t j = 0; j < shape.num_keys(); ++j) {
                const Weight& weight = row[static_cast<std::size_t>(j)];
                if (weight.probability == 0.0) continue;
                sum += weight.probability * weight.factor *
                       static_cast<double>(v(query.first_key + j, kv_head * width + d));
            }
            out(query.first_row + query.i, query.head * width + d) = static_cast<float>(sum);
        }
    });
}

void attention_backward(const AttentionShape& shape, const AttentionBackward& op, std::span<double> dtable) {
    const auto q = host<const float>(op.q);
    const auto k = host<const float>(op.k);
    const auto v = host<const float>(op.v);
    const auto dout_rows = host<const float>(op.dout);
    Sums dq(q);
    Sums dk(k);
    Sums dv(v);
    const index_t width = shape.value_width();
    for_queries(shape, [&](const Query& query) {
        const std::vector<Weight> row = weights(shape, q, k, query);
        const index_t q_row = query.first_row + query.i;
        const index_t kv_head = query.head / (shape.heads / shape.kv_heads);
        std::vector<double> dp(row.size(), 0.0);
        double mean = 0.0;
        for (std::size_t j = 0; j < row.size(); ++j) {
            if (row[j].probability == 0.0) continue;
            const index_t key = query.first_key + static_cast<index_t>(j);
            for (index_t d = 0; d < width; ++d) {
                const double dout = static_cast<double>(dout_rows(q_row, query.head * width + d));
                dp[j] += row[j].factor * dout * static_cast<double>(v(key, kv_head * width + d));
                dv.at(key, kv_head * width + d) += row[j].probability * row[j].factor * dout;
            }
            mean += row[j].probability * dp[j];
        }
        for (std::size_t j = 0; j < row.size(); ++j) {
            if (row[j].probability == 0.0) continue;
            const index_t key = query.first_key + static_cast<index_t>(j);
            const double dscore = row[j].probability * (dp[j] - mean);
            if (!dtable.empty()) {
                const index_t bucket = t5_bucket(static_cast<index_t>(j) - query.i, shape.bias.table.rows(),
                                                 shape.bias.max_distance, shape.visibility);
                dtable[static_cast<std::size_t>(bucket * shape.heads + query.head)] += dscore;
            }
            const double dproduct = dscore * row[j].slope * static_cast<double>(shape.scale);
            for (index_t d = 0; d < shape.head_dim; ++d) {
                const index_t q_col = query.head * shape.head_dim + d;
                const index_t k_col = kv_head * shape.head_dim + d;
                dq.at(q_row, q_col) += dproduct * static_cast<double>(k(key, k_col));
                dk.at(key, k_col) += dproduct * static_cast<double>(q(q_row, q_col));
            }
        }
    });
    dq.write(host<float>(op.dq));
    dk.write(host<float>(op.dk));
    dv.write(host<float>(op.dv));
}

}  // namespace sy::ops::ref
