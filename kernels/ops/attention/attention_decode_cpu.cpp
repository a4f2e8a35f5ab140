// A task is one key/value head of one sequence: its part of the cache is read once for all query heads that share it.
#include <algorithm>

#include "kernels/core/profile.hpp"
#include "kernels/ops/attention/blocks.hpp"
#include "kernels/ops/attention/relative_bias.hpp"
#include "kernels/core/fits.hpp"
#include "kernels/ops/attention/scores.hpp"

namespace sy::ops {
namespace {

/// One key/value head of a cache, and the query heads that share it.
struct DecodeTask {
    MatrixView<const float> queries;  ///< [group, D]
    MatrixView<const float> keys;     ///< [seen, D]
    MatrixView<const float> values;   ///< [seen, Dv]
    MatrixView<float> scores;         ///< [group, seen] scratch
    MatrixView<float> out;            ///< [group, Dv]
    const detail::RelativeBias& bias;
    index_t first_head;
};

void decode(const DecodeTask& task, const AttentionShape& shape) {
    simd::for_isa([=, &task, &shape]() SY_BODY {
        const index_t count = task.keys.rows;
        const auto row = [](const auto& x, index_t i) SY_BODY { return x.data + i * x.stride; };
        for (index_t j = 0; j < count; ++j) {
            for (index_t g = 0; g < task.queries.rows; ++g)
                row(task.scores, g)[j] = detail::dot(row(task.queries, g), row(task.keys, j), task.keys.cols);
        }
        for (index_t g = 0; g < task.queries.rows; ++g) {
            const detail::ScoreRule rule{shape.scale, shape.soft_cap, task.bias.of_head(task.first_head + g)};
            const float scale = detail::finish_scores(row(task.scores, g), count, rule, 1 - count);
            const float inverse = 1.0F / detail::exponentiate_row(row(task.scores, g), count, scale).sum;
            const float* const weights = row(task.scores, g);
            simd::for_lanes(task.values.cols, [&](index_t d, auto load, auto store) SY_BODY {
                simd::f32x16 sums{};
                for (index_t j = 0; j < count; ++j)
                    sums = simd::fma(simd::splat(weights[j]), load(row(task.values, j) + d), sums);
                store(row(task.out, g) + d, sums * inverse);
            });
        }
    });
}

/// @return rows of a sequence's cache
index_t check(const AttentionShape& shape, ConstTensorRef q, ConstTensorRef k_cache, ConstTensorRef v_cache,
              std::span<const index_t> lengths, ConstTensorRef out) {
    detail::check_rules(shape);
    const bool biased = !shape.bias.table.is_null() || !shape.bias.slopes.is_null();
    SY_FITS(shape.dropout.probability == 0.0F && (!biased || shape.visibility == Visibility::causal),
            "attention_decode: dropout of ", shape.dropout.probability,
            " (expected none), or a bias by distance from a token that has no place in the memory");
    const index_t width = shape.value_width();
    const index_t capacity = q.rows() == 0 ? 0 : k_cache.rows() / q.rows();
    SY_FITS(
        q.cols() == shape.heads * shape.head_dim && out.rows() == q.rows() &&
            out.cols() == shape.heads * width && k_cache.cols() == shape.kv_heads * shape.head_dim &&
            (v_cache.cols() == shape.kv_heads * width || (shape.kv_heads == 1 && v_cache.cols() > width)) &&
            k_cache.rows() == q.rows() * capacity && v_cache.rows() == k_cache.rows() &&
            static_cast<index_t>(lengths.size()) == q.rows(),
        "attention_decode: ", shape.heads, " heads over ", shape.kv_heads, " of ", shape.head_dim, " and ",
        width, "; q [", q.rows(), ", ", q.cols(), "], out [", out.rows(), ", ", out.cols(), "], ",
        lengths.size(), " lengths, caches [", k_cache.rows(), ", ", k_cache.cols(), "] and [", v_cache.rows(),
        ", ", v_cache.cols(), "]");
    for (const index_t length : lengths) {
        SY_FITS(length >= 1 && length <= capacity, "attention_decode: length ", length, " in a cache of ",
                capacity, " tokens");
    }
    return capacity;
}

}  // namespace

void attention_decode(const AttentionShape& shape, ConstTensorRef q, ConstTensorRef k_cache,
                      ConstTensorRef v_cache, std::span<const index_t> lengths, TensorRef out,
                      const Context& context) {
    const index_t capacity = check(shape, q, k_cache, v_cache, lengths, out);
    const auto queries = host<const float>(q);
    const auto keys = host<const float>(k_cache);
    const auto values = host<const float>(v_cache);
    const auto sums = host<float>(out);
    if (queries.rows == 0) return;
    const auto num_seen = [&](index_t length) {
        return shape.window == 0 ? length : std::min(shape.window, length);
    };
    const index_t most = num_seen(*std::max_element(lengths.begin(), lengths.end()));
    const index_t width = shape.value_width();
    const Timed timed(context, OpKind::softmax,
                      (2.0 * static_cast<double>(shape.head_dim + width) + 4.0) *
                          static_cast<double>(queries.rows * shape.heads * most));
    const detail::RelativeBias bias(shape, {1 - most, 1}, context);
    const index_t group = shape.heads / shape.kv_heads;
    Tensor scratch(context.arena, DType::f32, {context.team.size(), group, most});
    float* const scores = scratch.values<float>().data();
    context.team.for_tasks(queries.rows * shape.kv_heads, [&](index_t task, int thread_idx) {
        const index_t sequence = task / shape.kv_heads;
        const index_t kv_head = task % shape.kv_heads;
        const index_t length = lengths[static_cast<std::size_t>(sequence)];
        const Range rows{sequence * capacity + length - num_seen(length), sequence * capacity + length};
        const auto head_of = [&](MatrixView<const float> cache, index_t cols) {
            return cache.rows_of(rows).cols_of({kv_head * cols, (kv_head + 1) * cols});
        };
        const index_t first_head = kv_head * group;
        decode({{queries.row(sequence) + first_head * shape.head_dim, group, shape.head_dim},
                head_of(keys, shape.head_dim),
                head_of(values, width),
                {scores + thread_idx * group * most, group, rows.size(), most},
                {sums.row(sequence) + first_head * width, group, width},
                bias,
                first_head},
               shape);
    });
}

}  // namespace sy::ops
