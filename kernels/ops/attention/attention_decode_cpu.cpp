// A task is one key/value head of one query row: its part of the cache is read once for all query heads that share it.
// Each score is one chain over the head's columns and each output one chain over the keys, as the products of forward
// are, so that both give the same bits.
#include <algorithm>

#include "kernels/core/fits.hpp"
#include "kernels/core/profile.hpp"
#include "kernels/ops/attention/blocks.hpp"
#include "kernels/ops/attention/relative_bias.hpp"
#include "kernels/ops/attention/scores.hpp"
#include "kernels/ops/cpu_bodies.hpp"
#include "kernels/ops/cpu_device.hpp"

namespace sy::ops {
namespace {

using simd::f32x16;
using simd::kLanes;

/// Keys that are transposed together, a lane each.
constexpr index_t kKeysTogether = 2 * kLanes;
/// Columns of values whose sums are in registers at once.
constexpr index_t kColsTogether = 4 * kLanes;
/// How many rows before it is read one is fetched.
constexpr index_t kRowsAhead = 16;

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

/// a * b + c for a number a, rounded once. The compiler makes one broadcast of it, which it does not of simd::splat.
SY_INLINE f32x16 add_product(float a, f32x16 b, f32x16 c) {
    f32x16 result;
#pragma omp simd
    for (int lane = 0; lane < kLanes; ++lane) result[lane] = __builtin_fmaf(a, b[lane], c[lane]);
    return result;
}

/// Fetches a row that is read in a moment. Rows of a head lie too far apart for the processor to see them coming.
SY_INLINE void prefetch(const float* row, index_t cols) {
    for (index_t d = 0; d < cols; d += kLanes) __builtin_prefetch(row + d);
}

/// Rows of keys as columns; lanes without a key are 0.
SY_INLINE void transpose(const MatrixView<const float>& keys, Range range, float* columns) {
    for (index_t lane = range.size(); lane < kKeysTogether; ++lane) {
        for (index_t d = 0; d < keys.cols; ++d) columns[d * kKeysTogether + lane] = 0.0F;
    }
    for (index_t lane = 0; lane < range.size(); ++lane) {
        const float* const key = row_of(keys, range.begin + lane);
        if (range.begin + lane + kRowsAhead < keys.rows) prefetch(key + kRowsAhead * keys.stride, keys.cols);
        for (index_t d = 0; d < keys.cols; ++d) columns[d * kKeysTogether + lane] = key[d];
    }
}

/// Products of one query with the transposed keys.
SY_INLINE void multiply_keys(const float* query, const float* columns, index_t cols, float* scores) {
    f32x16 low{};
    f32x16 high{};
    for (index_t d = 0; d < cols; ++d) {
        low = add_product(query[d], simd::load(columns + d * kKeysTogether), low);
        high = add_product(query[d], simd::load(columns + d * kKeysTogether + kLanes), high);
    }
    simd::store(scores, low);
    simd::store(scores + kLanes, high);
}

SY_INLINE void multiply_queries(const DecodeTask& task) {
    for (index_t key = 0; key < task.keys.rows; key += kKeysTogether) {
        transpose(task.keys, {key, std::min(key + kKeysTogether, task.keys.rows)}, task.columns);
        for (index_t g = 0; g < task.queries.rows; ++g)
            multiply_keys(row_of(task.queries, g), task.columns, task.keys.cols,
                          row_of(task.scores, g) + key);
    }
}

/// out = inverse * (weights times values), for kColsTogether neighbouring columns.
SY_INLINE void add_values(const float* weights, const MatrixView<const float>& values, index_t first_col,
                          float inverse, float* out) {
    f32x16 a{};
    f32x16 b{};
    f32x16 c{};
    f32x16 d{};
    for (index_t j = 0; j < values.rows; ++j) {
        const float* const value = row_of(values, j) + first_col;
        if (j + kRowsAhead < values.rows) prefetch(value + kRowsAhead * values.stride, kColsTogether);
        a = add_product(weights[j], simd::load(value), a);
        b = add_product(weights[j], simd::load(value + kLanes), b);
        c = add_product(weights[j], simd::load(value + 2 * kLanes), c);
        d = add_product(weights[j], simd::load(value + 3 * kLanes), d);
    }
    simd::store(out + first_col, a * inverse);
    simd::store(out + first_col + kLanes, b * inverse);
    simd::store(out + first_col + 2 * kLanes, c * inverse);
    simd::store(out + first_col + 3 * kLanes, d * inverse);
}

SY_INLINE void weigh_values(const float* weights, const MatrixView<const float>& values, float inverse,
                            float* out) {
    index_t first = 0;
    for (; first + kColsTogether <= values.cols; first += kColsTogether)
        add_values(weights, values, first, inverse, out);
    simd::for_lanes(values.cols - first, [&](index_t col, auto load, auto store) SY_BODY {
        f32x16 sums{};
        for (index_t j = 0; j < values.rows; ++j)
            sums = add_product(weights[j], load(row_of(values, j) + first + col), sums);
        store(out + first + col, sums * inverse);
    });
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

}  // namespace

void on_cpu::attention_decode(const AttentionShape& shape, ConstTensorRef q, ConstTensorRef k_cache,
                              ConstTensorRef v_cache, const DecodeRows& rows, TensorRef out,
                              const Context& context) {
    const auto queries = host<const float>(q);
    const auto keys = host<const float>(k_cache);
    const auto values = host<const float>(v_cache);
    const auto sums = host<float>(out);
    const auto num_seen = [&](index_t length) { return detail::num_seen(shape, length); };
    const index_t most = num_seen(std::ranges::max(rows.length));
    const index_t width = shape.value_width();
    const detail::RelativeBias bias(shape, {1 - most, 1}, context);
    const index_t group = shape.heads / shape.kv_heads;
    const index_t pitch = round_up(most, kKeysTogether);
    Tensor scratch(context.device, DType::f32,
                   {context.device.num_threads(), group * pitch + shape.head_dim * kKeysTogether});
    const MatrixView<float> scratches = scratch.matrix<float>();
    cpu(context).team().for_tasks(queries.rows * shape.kv_heads, [&](index_t task, int thread_idx) {
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
