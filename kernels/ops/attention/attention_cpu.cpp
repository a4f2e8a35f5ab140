// A task is one head of one sequence (backward: one key/value head). It walks over blocks of query rows against all
// keys before them, so a block's scores [kBlock, S] are all that is ever stored, and products do the work.
#include <algorithm>
#include <cmath>

#include "kernels/core/simd.hpp"
#include "kernels/ops/attention/attention.hpp"
#include "kernels/ops/gemm/gemm.hpp"

namespace sy::ops {
namespace {

constexpr index_t kBlock = 64;

/// Scores of a query row become probabilities over its first `count` keys and 0 beyond. @return logsumexp
SY_MULTIVERSION float softmax_causal(float* row, index_t count, index_t width, float scale) {
    simd::f32x16 highest = simd::splat(-__builtin_inff());
    index_t i = 0;
    for (; i + simd::kLanes <= count; i += simd::kLanes) highest = simd::max(highest, simd::load(row + i));
    if (i < count) highest = simd::max(highest, simd::load_part(row + i, count - i, -__builtin_inff()));
    const float largest = simd::max_lane(highest) * scale;
    simd::f32x16 sums{};
    for (i = 0; i + simd::kLanes <= count; i += simd::kLanes) {
        const simd::f32x16 power = simd::exp(simd::load(row + i) * scale - largest);
        simd::store(row + i, power);
        sums += power;
    }
    if (i < count) {
        const simd::f32x16 power =
            simd::exp(simd::load_part(row + i, count - i, -__builtin_inff()) * scale - largest);
        simd::store_part(row + i, power, count - i);
        sums += power;
    }
    const float sum = simd::sum(sums);
    const float inverse = 1.0F / sum;
    for (index_t j = 0; j < count; ++j) row[j] *= inverse;
    for (index_t j = count; j < width; ++j) row[j] = 0.0F;
    return largest + std::log(sum);
}

/// scores -> probabilities in place, dp -> dscore in place: p (dp - delta) scale over the first `count` keys.
SY_MULTIVERSION void backward_causal(float* scores, float* dp, index_t count, index_t width, float scale,
                                     float lse, float delta) {
    simd::for_lanes(
        count, [&](index_t i, auto load, auto store) __attribute__((always_inline)) {
            const simd::f32x16 p = simd::exp(load(scores + i) * scale - lse);
            store(scores + i, p);
            store(dp + i, p * (load(dp + i) - delta) * scale);
        });
    for (index_t j = count; j < width; ++j) scores[j] = dp[j] = 0.0F;
}

SY_MULTIVERSION float dot(const float* a, const float* b, index_t count) {
    simd::f32x16 sums{};
    simd::for_lanes(
        count, [&](index_t i, auto load, auto)
                   __attribute__((always_inline)) { sums += load(a + i) * load(b + i); });
    return simd::sum(sums);
}

SY_MULTIVERSION void add_scaled(float factor, const float* x, float* y, index_t count) {
    simd::for_lanes(
        count, [&](index_t i, auto load, auto store)
                   __attribute__((always_inline)) { store(y + i, load(y + i) + load(x + i) * factor); });
}

void check(const AttentionShape& shape, MatrixView<const float> q, MatrixView<const float> k,
           MatrixView<const float> v) {
    const index_t rows = shape.num_sequences * shape.seq_len;
    SY_REQUIRE(shape.kv_heads > 0 && shape.heads % shape.kv_heads == 0 && q.rows == rows && k.rows == rows &&
                   v.rows == rows && q.cols == shape.heads * shape.head_dim &&
                   k.cols == shape.kv_heads * shape.head_dim && v.cols == k.cols,
               "attention: ", shape.num_sequences, " sequences of ", shape.seq_len, ", ", shape.heads,
               " heads over ", shape.kv_heads, " of ", shape.head_dim, "; q [", q.rows, ", ", q.cols,
               "], k [", k.rows, ", ", k.cols, "], v [", v.rows, ", ", v.cols, "]");
}

/// The part of x that belongs to one sequence and one head.
template <class T>
MatrixView<T> head_of(MatrixView<T> x, const AttentionShape& shape, index_t sequence, index_t head) {
    return x.rows_of({sequence * shape.seq_len, (sequence + 1) * shape.seq_len})
        .cols_of({head * shape.head_dim, (head + 1) * shape.head_dim});
}

void backward_block(const AttentionShape& shape, const AttentionBackward& op, index_t sequence, index_t head,
                    Range rows, float* scratch, const Context& context) {
    const index_t kv_head = head / (shape.heads / shape.kv_heads);
    const GemmLibrary& library = context.gemm;
    const Range keys{0, rows.end};
    const MatrixView<const float> q = head_of(op.q, shape, sequence, head).rows_of(rows);
    const MatrixView<const float> dout = head_of(op.dout, shape, sequence, head).rows_of(rows);
    const MatrixView<const float> out = head_of(op.out, shape, sequence, head).rows_of(rows);
    const MatrixView<const float> k = head_of(op.k, shape, sequence, kv_head).rows_of(keys);
    const MatrixView<const float> v = head_of(op.v, shape, sequence, kv_head).rows_of(keys);
    const MatrixView<float> scores(scratch, rows.size(), rows.end);
    const MatrixView<float> dscores(scratch + kBlock * shape.seq_len, rows.size(), rows.end);
    library.multiply<float>({q, Transpose::no, k, Transpose::yes, scores, 0.0F}, context.numerics);
    library.multiply<float>({dout, Transpose::no, v, Transpose::yes, dscores, 0.0F}, context.numerics);
    for (index_t i = 0; i < rows.size(); ++i) {
        const float delta = dot(dout.row(i), out.row(i), shape.head_dim);
        const float lse = op.lse(sequence * shape.seq_len + rows.begin + i, head);
        backward_causal(scores.row(i), dscores.row(i), rows.begin + i + 1, rows.end, shape.scale, lse, delta);
    }
    const MatrixView<float> dq = head_of(op.dq, shape, sequence, head).rows_of(rows);
    const MatrixView<float> dk = head_of(op.dk, shape, sequence, kv_head).rows_of(keys);
    const MatrixView<float> dv = head_of(op.dv, shape, sequence, kv_head).rows_of(keys);
    library.multiply<float>({dscores, Transpose::no, k, Transpose::no, dq, 0.0F}, context.numerics);
    library.multiply<float>({scores, Transpose::yes, dout, Transpose::no, dv, 1.0F}, context.numerics);
    library.multiply<float>({dscores, Transpose::yes, q, Transpose::no, dk, 1.0F}, context.numerics);
}

void zero(MatrixView<float> x) {
    for (index_t r = 0; r < x.rows; ++r) std::fill_n(x.row(r), x.cols, 0.0F);
}

}  // namespace

void attention(const AttentionShape& shape, MatrixView<const float> q, MatrixView<const float> k,
               MatrixView<const float> v, MatrixView<float> out, MatrixView<float> lse,
               const Context& context) {
    check(shape, q, k, v);
    if (q.rows == 0) return;
    const index_t block_elements = kBlock * shape.seq_len;
    Tensor scratch(context.arena, DType::f32, {context.team.size(), block_elements});
    float* const blocks = scratch.values<float>().data();
    context.team.for_tasks(shape.num_sequences * shape.heads, [&](index_t task, int thread_idx) {
        const index_t sequence = task / shape.heads;
        const index_t head = task % shape.heads;
        const index_t kv_head = head / (shape.heads / shape.kv_heads);
        for (index_t first = 0; first < shape.seq_len; first += kBlock) {
            const Range rows{first, std::min(first + kBlock, shape.seq_len)};
            const MatrixView<float> scores(blocks + thread_idx * block_elements, rows.size(), rows.end);
            context.gemm.multiply<float>(
                {head_of(q, shape, sequence, head).rows_of(rows), Transpose::no,
                 head_of(k, shape, sequence, kv_head).rows_of({0, rows.end}), Transpose::yes, scores, 0.0F},
                context.numerics);
            for (index_t i = 0; i < rows.size(); ++i) {
                lse(sequence * shape.seq_len + first + i, head) =
                    softmax_causal(scores.row(i), first + i + 1, rows.end, shape.scale);
            }
            context.gemm.multiply<float>(
                {scores, Transpose::no, head_of(v, shape, sequence, kv_head).rows_of({0, rows.end}),
                 Transpose::no, head_of(out, shape, sequence, head).rows_of(rows), 0.0F},
                context.numerics);
        }
    });
}

void attention_backward(const AttentionShape& shape, const AttentionBackward& operands,
                        const Context& context) {
    check(shape, operands.q, operands.k, operands.v);
    if (operands.q.rows == 0) return;
    const index_t block_elements = 2 * kBlock * shape.seq_len;
    Tensor scratch(context.arena, DType::f32, {context.team.size(), block_elements});
    float* const blocks = scratch.values<float>().data();
    context.team.for_tasks(shape.num_sequences * shape.kv_heads, [&](index_t task, int thread_idx) {
        const index_t sequence = task / shape.kv_heads;
        const index_t kv_head = task % shape.kv_heads;
        zero(head_of(operands.dk, shape, sequence, kv_head));
        zero(head_of(operands.dv, shape, sequence, kv_head));
        const index_t group = shape.heads / shape.kv_heads;
        for (index_t head = kv_head * group; head < (kv_head + 1) * group; ++head) {
            for (index_t first = 0; first < shape.seq_len; first += kBlock) {
                backward_block(shape, operands, sequence, head,
                               {first, std::min(first + kBlock, shape.seq_len)},
                               blocks + thread_idx * block_elements, context);
            }
        }
    });
}

void attention_decode(const AttentionShape& shape, MatrixView<const float> q,
                      TensorView3<const float> k_cache, TensorView3<const float> v_cache,
                      std::span<const index_t> lengths, MatrixView<float> out, const Context& context) {
    SY_REQUIRE(
        static_cast<index_t>(lengths.size()) == q.rows && k_cache.count >= q.rows && v_cache.count >= q.rows,
        "attention_decode: ", q.rows, " tokens, ", lengths.size(), " lengths, ", k_cache.count, " caches");
    Tensor scratch(context.arena, DType::f32, {context.team.size(), k_cache.rows});
    float* const rows = scratch.values<float>().data();
    context.team.for_tasks(q.rows * shape.heads, [&](index_t task, int thread_idx) {
        const index_t sequence = task / shape.heads;
        const index_t head = task % shape.heads;
        const index_t column = head / (shape.heads / shape.kv_heads) * shape.head_dim;
        const index_t length = lengths[static_cast<std::size_t>(sequence)];
        const float* const query = q.row(sequence) + head * shape.head_dim;
        float* const scores = rows + thread_idx * k_cache.rows;
        for (index_t j = 0; j < length; ++j) {
            scores[j] = dot(query, k_cache[sequence].row(j) + column, shape.head_dim);
        }
        softmax_causal(scores, length, length, shape.scale);
        float* const target = out.row(sequence) + head * shape.head_dim;
        std::fill_n(target, shape.head_dim, 0.0F);
        for (index_t j = 0; j < length; ++j) {
            add_scaled(scores[j], v_cache[sequence].row(j) + column, target, shape.head_dim);
        }
    });
}

}  // namespace sy::ops
