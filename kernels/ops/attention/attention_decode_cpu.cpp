// A task is one key/value head of one sequence: its part of the cache is read once for all query heads that share it.
#include <algorithm>

#include "kernels/ops/attention/blocks.hpp"

#include "kernels/core/profile.hpp"

namespace sy::ops {
namespace {

/// One key/value head of a cache, and the query heads that share it.
struct DecodeTask {
    MatrixView<const float> queries;  ///< [group, D]
    MatrixView<const float> keys;     ///< [length, D]
    MatrixView<const float> values;   ///< [length, D]
    MatrixView<float> scores;         ///< [group, length] scratch
    MatrixView<float> out;            ///< [group, D]
};

SY_MULTIVERSION void decode(const DecodeTask& task, float scale) {
    const index_t length = task.keys.rows;
    const index_t head_dim = task.keys.cols;
    const auto row = [](const auto& x, index_t i) __attribute__((always_inline)) {
        return x.data + i * x.stride;
    };
    for (index_t j = 0; j < length; ++j) {
        for (index_t g = 0; g < task.queries.rows; ++g)
            row(task.scores, g)[j] = detail::dot(row(task.queries, g), row(task.keys, j), head_dim);
    }
    for (index_t g = 0; g < task.queries.rows; ++g) {
        const float inverse = 1.0F / detail::exponentiate_row(row(task.scores, g), length, scale).sum;
        const float* const weights = row(task.scores, g);
        simd::for_lanes(
            head_dim, [&](index_t d, auto load, auto store) __attribute__((always_inline)) {
                simd::f32x16 sums{};
                for (index_t j = 0; j < length; ++j)
                    sums = simd::fma(simd::splat(weights[j]), load(row(task.values, j) + d), sums);
                store(row(task.out, g) + d, sums * inverse);
            });
    }
}

void check(const AttentionShape& shape, MatrixView<const float> q, TensorView3<const float> k_cache,
           TensorView3<const float> v_cache, std::span<const index_t> lengths, MatrixView<float> out) {
    const index_t kv_width = shape.kv_heads * shape.head_dim;
    SY_REQUIRE(shape.kv_heads > 0 && shape.heads % shape.kv_heads == 0 && shape.head_dim > 0 &&
                   shape.scale > 0.0F && q.cols == shape.heads * shape.head_dim && out.rows == q.rows &&
                   out.cols == q.cols && k_cache.cols == kv_width && v_cache.cols == kv_width &&
                   v_cache.rows == k_cache.rows && k_cache.count >= q.rows && v_cache.count >= q.rows &&
                   static_cast<index_t>(lengths.size()) == q.rows,
               "attention_decode: ", shape.heads, " heads over ", shape.kv_heads, " of ", shape.head_dim,
               ", scale ", shape.scale, "; q [", q.rows, ", ", q.cols, "], out [", out.rows, ", ", out.cols,
               "], ", lengths.size(), " lengths, caches [", k_cache.count, ", ", k_cache.rows, ", ",
               k_cache.cols, "] and [", v_cache.count, ", ", v_cache.rows, ", ", v_cache.cols, "]");
    for (const index_t length : lengths) {
        SY_REQUIRE(length >= 1 && length <= k_cache.rows, "attention_decode: length ", length,
                   " in a cache of ", k_cache.rows, " tokens");
    }
}

}  // namespace

void attention_decode(const AttentionShape& shape, MatrixView<const float> q,
                      TensorView3<const float> k_cache, TensorView3<const float> v_cache,
                      std::span<const index_t> lengths, MatrixView<float> out, const Context& context) {
    check(shape, q, k_cache, v_cache, lengths, out);
    if (q.rows == 0) return;
    const Timed timed(
        context, OpKind::softmax,
        4.0 * static_cast<double>(q.rows * q.cols * *std::max_element(lengths.begin(), lengths.end())));
    const index_t group = shape.heads / shape.kv_heads;
    const index_t longest = *std::max_element(lengths.begin(), lengths.end());
    Tensor scratch(context.arena, DType::f32, {context.team.size(), group, longest});
    float* const scores = scratch.values<float>().data();
    context.team.for_tasks(q.rows * shape.kv_heads, [&](index_t task, int thread_idx) {
        const index_t sequence = task / shape.kv_heads;
        const index_t kv_head = task % shape.kv_heads;
        const Range tokens{0, lengths[static_cast<std::size_t>(sequence)]};
        const Range cols{kv_head * shape.head_dim, (kv_head + 1) * shape.head_dim};
        const index_t first_col = kv_head * group * shape.head_dim;
        decode({{q.row(sequence) + first_col, group, shape.head_dim},
                k_cache[sequence].rows_of(tokens).cols_of(cols),
                v_cache[sequence].rows_of(tokens).cols_of(cols),
                {scores + thread_idx * group * longest, group, tokens.size(), longest},
                {out.row(sequence) + first_col, group, shape.head_dim}},
               shape.scale);
    });
}

}  // namespace sy::ops
