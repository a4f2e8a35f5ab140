// A task is one key/value head of one query row: its part of the cache is read once for all query heads that share it.
// Each score is one chain over the head's columns and each output one chain over the keys, as the products of forward
// are, so that both give the same bits.
#include <algorithm>

#include "kernels/core/fits.hpp"
#include "kernels/core/profile.hpp"
#include "kernels/ops/attention/blocks.hpp"
#include "kernels/ops/attention/relative_bias.hpp"
#include "kernels/ops/attention/scores.hpp"

namespace sy::ops {
namespace {

using simd::f32x16;
using simd::kLanes;

/// Keys that are transposed together, a lane each.
constexpr index_t kKeysTogether = 2 * kLanes;

/// One key/value head of a cache, and the query heads that share it.
struct DecodeTask {
    MatrixView<const float> queries;  ///< [group, D]
    MatrixView<const float> keys;     ///< [seen, D]
    MatrixView<const float> values;   ///< [seen, Dv]
    MatrixView<float> scores;         ///< [group, seen] scratch, rows a multiple of kKeysTogether apart
    float* columns;                   ///< [D, kKeysTogether] scratch
    MatrixView<float> out;            ///< [group, Dv]
    const detail::RelativeBias& bias;
    index_t first_head;
};

template <class T>
SY_INLINE T* row_of(const MatrixView<T>& x, index_t i) {
    return x.data + i * x.stride;
}

/// Rows of keys as columns; lanes without a key are 0.
SY_INLINE void transpose(const MatrixView<const float>& keys, Range range, float* columns) {
    for (index_t lane = range.size(); lane < kKeysTogether; ++lane) {
        for (index_t d = 0; d < keys.cols; ++d) columns[d * kKeysTogether + lane] = 0.0F;
    }
    for (index_t lane = 0; lane < range.size(); ++lane) {
        const float* const key = row_of(keys, range.begin + lane);
        for (index_t d = 0; d < keys.cols; ++d) columns[d * kKeysTogether + lane] = key[d];
    }
}

/// Products of kQueries query heads from `first` on with the transposed keys that begin at `key`.
template <std::size_t kQueries>
SY_INLINE void multiply_keys(const DecodeTask& task, index_t first, index_t key) {
    f32x16 sums[kQueries][2] = {};
    for (index_t d = 0; d < task.keys.cols; ++d) {
        const float* const column = task.columns + d * kKeysTogether;
        const f32x16 low = simd::load(column);
        const f32x16 high = simd::load(column + kLanes);
        for (std::size_t g = 0; g < kQueries; ++g) {
            const f32x16 query = simd::splat(row_of(task.queries, first + static_cast<index_t>(g))[d]);
            sums[g][0] = simd::fma(query, low, sums[g][0]);
            sums[g][1] = simd::fma(query, high, sums[g][1]);
        }
    }
    for (std::size_t g = 0; g < kQueries; ++g) {
        float* const scores = row_of(task.scores, first + static_cast<index_t>(g)) + key;
        simd::store(scores, sums[g][0]);
        simd::store(scores + kLanes, sums[g][1]);
    }
}

SY_INLINE void multiply_queries(const DecodeTask& task) {
    const index_t group = task.queries.rows;
    for (index_t key = 0; key < task.keys.rows; key += kKeysTogether) {
        transpose(task.keys, {key, std::min(key + kKeysTogether, task.keys.rows)}, task.columns);
        index_t g = 0;
        for (; g + 2 <= group; g += 2) multiply_keys<2>(task, g, key);
        if (g < group) multiply_keys<1>(task, g, key);
    }
}

/// out = inverse * (weights times values), for some neighbouring columns.
template <std::size_t kVectors>
SY_INLINE void add_values(const float* weights, const MatrixView<const float>& values, index_t first_col,
                          float inverse, float* out) {
    constexpr std::size_t kStep{kLanes};
    f32x16 sums[kVectors] = {};
    for (index_t j = 0; j < values.rows; ++j) {
        const float* const value = row_of(values, j) + first_col;
        const f32x16 weight = simd::splat(weights[j]);
        for (std::size_t i = 0; i < kVectors; ++i)
            sums[i] = simd::fma(weight, simd::load(value + i * kStep), sums[i]);
    }
    for (std::size_t i = 0; i < kVectors; ++i) simd::store(out + first_col + i * kStep, sums[i] * inverse);
}

SY_INLINE void weigh_values(const float* weights, const MatrixView<const float>& values, float inverse,
                            float* out) {
    constexpr index_t kTogether = 4;
    index_t col = 0;
    for (; col + kTogether * kLanes <= values.cols; col += kTogether * kLanes)
        add_values<std::size_t{kTogether}>(weights, values, col, inverse, out);
    for (; col + kLanes <= values.cols; col += kLanes) add_values<1>(weights, values, col, inverse, out);
    if (col == values.cols) return;
    const index_t rest = values.cols - col;
    f32x16 sums{};
    for (index_t j = 0; j < values.rows; ++j)
        sums = simd::fma(simd::splat(weights[j]), simd::load_part(row_of(values, j) + col, rest), sums);
    simd::store_part(out + col, sums * inverse, rest);
}

void decode(const DecodeTask& task, const AttentionShape& shape) {
    simd::for_isa([=, &task, &shape]() SY_BODY {
        const index_t count = task.keys.rows;
        multiply_queries(task);
        for (index_t g = 0; g < task.queries.rows; ++g) {
            float* const scores = row_of(task.scores, g);
            const detail::ScoreRule rule{shape.scale, shape.soft_cap, task.bias.of_head(task.first_head + g)};
            const float scale = detail::finish_scores(scores, count, rule, 1 - count);
            const float inverse = 1.0F / detail::exponentiate_row(scores, count, scale).sum;
            weigh_values(scores, task.values, inverse, row_of(task.out, g));
        }
    });
}

void check(const AttentionShape& shape, ConstTensorRef q, ConstTensorRef k_cache, ConstTensorRef v_cache,
           const DecodeRows& rows, ConstTensorRef out) {
    detail::check_rules(shape);
    const bool biased = !shape.bias.table.is_null() || !shape.bias.slopes.is_null();
    SY_FITS(shape.dropout.probability == 0.0F && (!biased || shape.visibility == Visibility::causal),
            "attention_decode: dropout of ", shape.dropout.probability,
            " (expected none), or a bias by distance from a token that has no place in the memory");
    const index_t width = shape.value_width();
    SY_FITS(
        q.cols() == shape.heads * shape.head_dim && out.rows() == q.rows() &&
            out.cols() == shape.heads * width && k_cache.cols() == shape.kv_heads * shape.head_dim &&
            (v_cache.cols() == shape.kv_heads * width || (shape.kv_heads == 1 && v_cache.cols() > width)) &&
            v_cache.rows() == k_cache.rows() && rows.capacity > 0 && k_cache.rows() % rows.capacity == 0 &&
            static_cast<index_t>(rows.length.size()) == q.rows() &&
            static_cast<index_t>(rows.cache.size()) == q.rows(),
        "attention_decode: ", shape.heads, " heads over ", shape.kv_heads, " of ", shape.head_dim, " and ",
        width, "; q [", q.rows(), ", ", q.cols(), "], out [", out.rows(), ", ", out.cols(), "], ",
        rows.length.size(), " lengths of ", rows.cache.size(), " caches of ", rows.capacity,
        " tokens, caches [", k_cache.rows(), ", ", k_cache.cols(), "] and [", v_cache.rows(), ", ",
        v_cache.cols(), "]");
    for (std::size_t i = 0; i < rows.length.size(); ++i) {
        SY_FITS(rows.length[i] >= 1 && rows.length[i] <= rows.capacity && rows.cache[i] >= 0 &&
                    rows.cache[i] < k_cache.rows() / rows.capacity,
                "attention_decode: length ", rows.length[i], " in cache ", rows.cache[i], " of ",
                k_cache.rows() / rows.capacity, " caches of ", rows.capacity, " tokens");
    }
}

}  // namespace

void attention_decode(const AttentionShape& shape, ConstTensorRef q, ConstTensorRef k_cache,
                      ConstTensorRef v_cache, const DecodeRows& rows, TensorRef out, const Context& context) {
    check(shape, q, k_cache, v_cache, rows, out);
    if (q.rows() == 0) return;
    const auto queries = host<const float>(q);
    const auto keys = host<const float>(k_cache);
    const auto values = host<const float>(v_cache);
    const auto sums = host<float>(out);
    const auto num_seen = [&](index_t length) {
        return shape.window == 0 ? length : std::min(shape.window, length);
    };
    const index_t most = num_seen(*std::max_element(rows.length.begin(), rows.length.end()));
    const index_t width = shape.value_width();
    const Timed timed(context, OpKind::softmax,
                      (2.0 * static_cast<double>(shape.head_dim + width) + 4.0) *
                          static_cast<double>(queries.rows * shape.heads * most));
    const detail::RelativeBias bias(shape, {1 - most, 1}, context);
    const index_t group = shape.heads / shape.kv_heads;
    const index_t pitch = round_up(most, kKeysTogether);
    Tensor scratch(context.arena, DType::f32,
                   {context.team.size(), group * pitch + shape.head_dim * kKeysTogether});
    const MatrixView<float> scratches = scratch.matrix<float>();
    context.team.for_tasks(queries.rows * shape.kv_heads, [&](index_t task, int thread_idx) {
        const index_t query = task / shape.kv_heads;
        const index_t kv_head = task % shape.kv_heads;
        const index_t length = rows.length[static_cast<std::size_t>(query)];
        const index_t first = rows.cache[static_cast<std::size_t>(query)] * rows.capacity;
        const Range seen{first + length - num_seen(length), first + length};
        const auto head_of = [&](MatrixView<const float> cache, index_t cols) {
            return cache.rows_of(seen).cols_of({kv_head * cols, (kv_head + 1) * cols});
        };
        const index_t first_head = kv_head * group;
        float* const scores = scratches.row(thread_idx);
        decode({{queries.row(query) + first_head * shape.head_dim, group, shape.head_dim},
                head_of(keys, shape.head_dim),
                head_of(values, width),
                {scores, group, seen.size(), pitch},
                scores + group * pitch,
                {sums.row(query) + first_head * width, group, width},
                bias,
                first_head},
               shape);
    });
}

}  // namespace sy::ops
