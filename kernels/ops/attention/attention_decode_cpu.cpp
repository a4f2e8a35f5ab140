// A task is one key/value head of one query row: its part of the cache is read once for all query heads that share it.
// Each score is one chain over the head's columns and each output one chain over the keys, as the products of forward
// are, so that both give the same bits.
#include <algorithm>
#include <cstring>

#include "kernels/core/fits.hpp"
#include "kernels/core/profile.hpp"
#include "kernels/core/readable_list.hpp"
#include "kernels/ops/attention/blocks.hpp"
#include "kernels/ops/attention/relative_bias.hpp"
#include "kernels/ops/attention/scores.hpp"
#include "kernels/ops/cpu_bodies.hpp"
#include "kernels/ops/cpu_device.hpp"

namespace sy::ops {
namespace {

using simd::f32x16;
using simd::kLanes;

/// Keys that are transposed together, a lane each; values are added in blocks of as many rows.
constexpr index_t kKeysTogether = 4 * kLanes;
/// Columns of values whose sums are in registers at once.
constexpr index_t kColsTogether = 4 * kLanes;
/// As many heads share a task as make so long a piece of a cache's row.
constexpr index_t kPieceBytes = 4096;

/// Neighbouring key/value heads of a cache, and the query heads of a row that share them.
struct DecodeTask {
    MatrixView<const float> queries;  ///< [heads * group, D]
    MatrixView<const float> keys;     ///< [seen, heads * D]
    MatrixView<const float> values;   ///< [seen, heads * Dv]
    MatrixView<float> scores;  ///< [heads * group, seen] scratch, rows a multiple of kKeysTogether apart
    float* columns;            ///< [D, kKeysTogether] scratch
    float* inverse;            ///< [heads * group] scratch: 1 / the sum of a row's weights
    MatrixView<float> out;     ///< [heads * group, Dv]
    const detail::RelativeBias& bias;
    index_t first_head;  ///< of the query
    index_t num_heads;   ///< of the cache

    SY_INLINE index_t group() const { return queries.rows / num_heads; }
};

/// Rows of one head out of a block of a cache.
SY_INLINE MatrixView<const float> part_of_block(const MatrixView<const float>& block, index_t head,
                                                index_t cols) {
    return {block.data + head * cols, block.rows, cols, block.stride};
}

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

/// Fetches the block that is read next, row by row, while another one is worked on: a head's part of a row is too short
/// for the processor to see the following ones coming.
class NextBlock {
  public:
    SY_INLINE explicit NextBlock(const MatrixView<const float>& rows) : rows_(rows) {}
    /// So many columns more.
    SY_INLINE void fetch(index_t cols) {
        if (row_ == rows_.rows) return;
        const float* const first = rows_.data + row_ * rows_.stride + col_;
        for (index_t col = 0; col < cols; col += kLanes) __builtin_prefetch(first + col);
        col_ += cols;
        if (col_ < rows_.cols) return;
        col_ = 0;
        ++row_;
    }

  private:
    MatrixView<const float> rows_;
    index_t row_ = 0;
    index_t col_ = 0;
};

/// Block `block_idx` of rows of a cache; the last has fewer, any beyond it none.
SY_INLINE MatrixView<const float> block_of(const MatrixView<const float>& rows, index_t block_idx) {
    const index_t first = std::min(block_idx * kKeysTogether, rows.rows);
    return {rows.data + first * rows.stride, std::min(kKeysTogether, rows.rows - first), rows.cols,
            rows.stride};
}

using f32x4 = float __attribute__((vector_size(16)));
/// Keys, and columns of them, that are transposed in registers.
constexpr index_t kTransposed = 4;

SY_INLINE f32x4 load_four(const float* source) {
    f32x4 value;
    std::memcpy(&value, source, sizeof(value));
    return value;
}

/// columns[col][0 .. 4) = column col of four keys, for the first `cols` columns, a multiple of four.
SY_INLINE void transpose_four(const float* key, index_t stride, index_t cols, float* columns) {
    for (index_t col = 0; col < cols; col += kTransposed, key += kTransposed) {
        const f32x4 a = load_four(key);
        const f32x4 b = load_four(key + stride);
        const f32x4 c = load_four(key + 2 * stride);
        const f32x4 d = load_four(key + 3 * stride);
        const f32x4 ab_low = __builtin_shufflevector(a, b, 0, 4, 1, 5);
        const f32x4 ab_high = __builtin_shufflevector(a, b, 2, 6, 3, 7);
        const f32x4 cd_low = __builtin_shufflevector(c, d, 0, 4, 1, 5);
        const f32x4 cd_high = __builtin_shufflevector(c, d, 2, 6, 3, 7);
        const f32x4 turned[kTransposed] = {__builtin_shufflevector(ab_low, cd_low, 0, 1, 4, 5),
                                           __builtin_shufflevector(ab_low, cd_low, 2, 3, 6, 7),
                                           __builtin_shufflevector(ab_high, cd_high, 0, 1, 4, 5),
                                           __builtin_shufflevector(ab_high, cd_high, 2, 3, 6, 7)};
        for (const f32x4& column : turned) {
            std::memcpy(columns, &column, sizeof(column));
            columns += kKeysTogether;
        }
    }
}

/// Rows of keys as columns; lanes without a key are 0.
SY_INLINE void transpose(const MatrixView<const float>& keys, NextBlock& next, float* columns) {
    for (index_t i = 0; keys.rows < kKeysTogether && i < keys.cols * kKeysTogether; i += kLanes)
        simd::store(columns + i, f32x16{});
    const index_t whole_cols = keys.cols / kTransposed * kTransposed;
    index_t lane = 0;
    for (; lane + kTransposed <= keys.rows; lane += kTransposed) {
        const float* const key = row_of(keys, lane);
        for (index_t i = 0; i < kTransposed; ++i) {
            next.fetch(keys.cols);
            for (index_t d = whole_cols; d < keys.cols; ++d)
                columns[d * kKeysTogether + lane + i] = key[i * keys.stride + d];
        }
        transpose_four(key, keys.stride, whole_cols, columns + lane);
    }
    for (; lane < keys.rows; ++lane) {
        const float* const key = row_of(keys, lane);
        for (index_t d = 0; d < keys.cols; ++d) columns[d * kKeysTogether + lane] = key[d];
    }
}

/// Products of one query with the transposed keys.
SY_INLINE void multiply_keys(const float* query, const float* columns, index_t cols, float* scores) {
    f32x16 a{};
    f32x16 b{};
    f32x16 c{};
    f32x16 d{};
    for (index_t col = 0; col < cols; ++col, columns += kKeysTogether) {
        a = add_product(query[col], simd::load(columns), a);
        b = add_product(query[col], simd::load(columns + kLanes), b);
        c = add_product(query[col], simd::load(columns + 2 * kLanes), c);
        d = add_product(query[col], simd::load(columns + 3 * kLanes), d);
    }
    simd::store(scores, a);
    simd::store(scores + kLanes, b);
    simd::store(scores + 2 * kLanes, c);
    simd::store(scores + 3 * kLanes, d);
}

SY_INLINE void multiply_queries(const DecodeTask& task) {
    const index_t num_blocks = ceil_div(task.keys.rows, kKeysTogether);
    const index_t group = task.group();
    for (index_t block_idx = 0; block_idx < num_blocks; ++block_idx) {
        const MatrixView<const float> block = block_of(task.keys, block_idx);
        NextBlock next(block_idx + 1 < num_blocks ? block_of(task.keys, block_idx + 1)
                                                  : block_of(task.values, 0));
        for (index_t head = 0; head < task.num_heads; ++head) {
            transpose(part_of_block(block, head, task.queries.cols), next, task.columns);
            for (index_t row = head * group; row < (head + 1) * group; ++row)
                multiply_keys(row_of(task.queries, row), task.columns, task.queries.cols,
                              row_of(task.scores, row) + block_idx * kKeysTogether);
        }
    }
}

/// out += weights times values, for kColsTogether neighbouring columns.
SY_INLINE void add_columns(const float* weights, const MatrixView<const float>& values, NextBlock& next,
                           float* out) {
    f32x16 a = simd::load(out);
    f32x16 b = simd::load(out + kLanes);
    f32x16 c = simd::load(out + 2 * kLanes);
    f32x16 d = simd::load(out + 3 * kLanes);
    for (index_t j = 0; j < values.rows; ++j) {
        const float* const value = row_of(values, j);
        next.fetch(kColsTogether);
        a = add_product(weights[j], simd::load(value), a);
        b = add_product(weights[j], simd::load(value + kLanes), b);
        c = add_product(weights[j], simd::load(value + 2 * kLanes), c);
        d = add_product(weights[j], simd::load(value + 3 * kLanes), d);
    }
    simd::store(out, a);
    simd::store(out + kLanes, b);
    simd::store(out + 2 * kLanes, c);
    simd::store(out + 3 * kLanes, d);
}

/// out += weights times values.
SY_INLINE void add_values(const float* weights, const MatrixView<const float>& values, NextBlock& next,
                          float* out) {
    index_t first = 0;
    for (; first + kColsTogether <= values.cols; first += kColsTogether)
        add_columns(weights, {values.data + first, values.rows, kColsTogether, values.stride}, next,
                    out + first);
    simd::for_lanes(values.cols - first, [&](index_t col, auto load, auto store) SY_BODY {
        f32x16 sums = load(out + first + col);
        for (index_t j = 0; j < values.rows; ++j)
            sums = add_product(weights[j], load(row_of(values, j) + first + col), sums);
        store(out + first + col, sums);
    });
}

/// Scores of a row become weights that are not yet divided by their sum.
SY_INLINE void exponentiate(const DecodeTask& task, index_t row, const AttentionShape& shape) {
    float* const scores = row_of(task.scores, row);
    const index_t count = task.keys.rows;
    const detail::ScoreRule rule{shape.scale, shape.soft_cap, task.bias.of_head(task.first_head + row)};
    const float scale = detail::finish_scores(scores, count, rule, 1 - count);
    task.inverse[row] = 1.0F / detail::exponentiate_row(scores, count, scale).sum;
}

SY_INLINE void weigh_values(const DecodeTask& task) {
    const index_t width = task.out.cols;
    const index_t group = task.group();
    for (index_t row = 0; row < task.out.rows; ++row) std::fill_n(row_of(task.out, row), width, 0.0F);
    for (index_t block_idx = 0; block_idx * kKeysTogether < task.values.rows; ++block_idx) {
        const MatrixView<const float> block = block_of(task.values, block_idx);
        NextBlock next(block_of(task.values, block_idx + 1));
        for (index_t row = 0; row < task.out.rows; ++row)
            add_values(row_of(task.scores, row) + block_idx * kKeysTogether,
                       part_of_block(block, row / group, width), next, row_of(task.out, row));
    }
}

void decode(const DecodeTask& task, const AttentionShape& shape) {
    simd::for_isa([=, &task, &shape]() SY_BODY {
        multiply_queries(task);
        for (index_t row = 0; row < task.queries.rows; ++row) exponentiate(task, row, shape);
        weigh_values(task);
        for (index_t row = 0; row < task.out.rows; ++row) {
            float* const out = row_of(task.out, row);
            const float inverse = task.inverse[row];
            simd::for_lanes(task.out.cols, [&](index_t col, auto load, auto store)
                                               SY_BODY { store(out + col, load(out + col) * inverse); });
        }
    });
}

/// Parts of the key/value heads, each a task of every query: as long pieces of rows as kPieceBytes says, as far as all
/// threads then have a task.
index_t num_head_parts(const AttentionShape& shape, index_t num_queries, int num_threads) {
    const index_t in_piece = kPieceBytes / (shape.head_dim * index_t{sizeof(float)});
    const index_t for_all = num_queries * shape.kv_heads / num_threads;
    return ceil_div(shape.kv_heads, std::max<index_t>(1, std::min(in_piece, for_all)));
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
    const std::span<const index_t> lengths = host_values(rows.length);
    const std::span<const index_t> caches = host_values(rows.cache);
    const index_t most = num_seen(std::ranges::max(lengths));
    const index_t width = shape.value_width();
    const detail::RelativeBias bias(shape, {1 - most, 1}, context);
    const index_t group = shape.heads / shape.kv_heads;
    const index_t pitch = round_up(most, kKeysTogether);
    const index_t num_parts = num_head_parts(shape, queries.rows, context.device.num_threads());
    const index_t most_rows = ceil_div(shape.kv_heads, num_parts) * group;
    Tensor scratch(
        context.device, DType::f32,
        {context.device.num_threads(), most_rows * pitch + shape.head_dim * kKeysTogether + most_rows});
    const MatrixView<float> scratches = scratch.matrix<float>();
    cpu(context).team().for_tasks(queries.rows * num_parts, [&](index_t task, int thread_idx) {
        const index_t query = task / num_parts;
        const Range kv_heads = part_of(shape.kv_heads, num_parts, task % num_parts);
        const index_t length = lengths[static_cast<std::size_t>(query)];
        const index_t first = caches[static_cast<std::size_t>(query)] * rows.capacity;
        const Range seen{first + length - num_seen(length), first + length};
        const auto heads_of = [&](MatrixView<const float> cache, index_t cols) {
            return cache.rows_of(seen).cols_of({kv_heads.begin * cols, kv_heads.end * cols});
        };
        const index_t first_head = kv_heads.begin * group;
        const index_t num_rows = kv_heads.size() * group;
        float* const scores = scratches.row(thread_idx);
        float* const columns = scores + most_rows * pitch;
        decode({{queries.row(query) + first_head * shape.head_dim, num_rows, shape.head_dim},
                heads_of(keys, shape.head_dim),
                heads_of(values, width),
                {scores, num_rows, seen.size(), pitch},
                columns,
                columns + shape.head_dim * kKeysTogether,
                {sums.row(query) + first_head * width, num_rows, width},
                bias,
                first_head,
                kv_heads.size()},
               shape);
    });
}

}  // namespace sy::ops
