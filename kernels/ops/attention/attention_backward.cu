// Three passes that compute the probabilities again from lse: over query rows for dq, over key rows for dk and dv, and over
// distances for the gradient of a bias table. Each sum belongs to one block of threads, so that no order depends on time.
#include "kernels/cuda/cuda_bodies.hpp"
#include "kernels/cuda/gradient.hpp"
#include "kernels/ops/attention/attention.hpp"
#include "kernels/ops/attention/pairs.cuh"

namespace sy::ops {
namespace {

using on_gpu::PairRules;

struct Operands {
    cuda::Matrix<const float> q;
    cuda::Matrix<const float> k;
    cuda::Matrix<const float> v;
    cuda::Matrix<const float> out;
    cuda::Matrix<const float> lse;
    cuda::Matrix<const float> dout;
    cuda::Matrix<float> dq;
    cuda::Matrix<float> dk;
    cuda::Matrix<float> dv;
    cuda::Matrix<float> mean;  ///< [T, heads] dout . out
};

/// What a query and a key that it sees contribute: the probability after dropout, and the gradients of the score and of the
/// product that it was made of.
struct Pair {
    float probability;
    float dscore;
    float dproduct;
};

/// @param t, key_row  rows of the call
__device__ Pair pair_of(const PairRules& rules, const Operands& op, index_t t, index_t key_row,
                        index_t head) {
    const index_t kv_head = rules.kv_head(head);
    const index_t key = key_row % rules.num_keys;
    const float product = on_gpu::dot(op.q.row(t) + head * rules.head_dim,
                                      op.k.row(key_row) + kv_head * rules.head_dim, rules.head_dim);
    const float dprobability = on_gpu::dot(op.dout.row(t) + head * rules.value_dim,
                                           op.v.row(key_row) + kv_head * rules.value_dim, rules.value_dim);
    const float factor = rules.keep_of(t, head, key);
    const float p = expf(rules.score(product, head, key - t % rules.seq_len) - op.lse(t, head));
    const float dscore = p * (dprobability * factor - op.mean(t, head));
    return {p * factor, dscore, dscore * rules.slope(product)};
}

/// sums[c] += sum of weights times rows, for the columns of this thread. @param count  of the tile
__forceinline__ __device__ void add_rows(const float* weights, const float* rows, index_t stride, int count,
                                         index_t cols, const cuda::Team& team, float* sums) {
#pragma unroll
    for (int c = 0; c < on_gpu::kPairCols; ++c) {
        const index_t col = team.thread + c * index_t{on_gpu::kPairThreads};
        if (col < cols) {
            float sum = sums[c];
            for (int j = 0; j < count; ++j) sum = fmaf(weights[j], rows[j * stride + col], sum);
            sums[c] = sum;
        }
    }
}

__forceinline__ __device__ void store_sums(const float* sums, index_t cols, const cuda::Team& team,
                                           float* to) {
#pragma unroll
    for (int c = 0; c < on_gpu::kPairCols; ++c) {
        const index_t col = team.thread + c * index_t{on_gpu::kPairThreads};
        if (col < cols) to[col] = sums[c];
    }
}

__device__ int tile_size(index_t left, const cuda::Team& team) {
    return left < team.size ? static_cast<int>(left) : team.size;
}

/// dq of one head of one query row.
__global__ void __launch_bounds__(on_gpu::kPairThreads)
    query_kernel(index_t items, PairRules rules, Operands op) {
    SY_SHARED(scratch, cuda::Array<std::uint64_t, cuda::kWarp>);
    SY_SHARED(weights, cuda::Array<float, on_gpu::kPairThreads>);
    const cuda::Team team{static_cast<int>(threadIdx.x), on_gpu::kPairThreads, scratch};
    for (index_t item = blockIdx.x; item < items; item += gridDim.x) {
        const index_t t = item / rules.heads;
        const index_t head = item % rules.heads;
        const Range seen = rules.keys_of_row(t);
        const index_t sequence = t / rules.seq_len * rules.num_keys;
        float sums[on_gpu::kPairCols] = {};
        for (index_t first = seen.begin; first < seen.end; first += team.size) {
            const index_t key = first + team.thread;
            weights[team.thread] =
                key < seen.end ? pair_of(rules, op, t, sequence + key, head).dproduct : 0.0F;
            team.wait();
            add_rows(weights, op.k.row(sequence + first) + rules.kv_head(head) * rules.head_dim, op.k.stride,
                     tile_size(seen.end - first, team), rules.head_dim, team, sums);
            team.wait();
        }
        store_sums(sums, rules.head_dim, team, op.dq.row(t) + head * rules.head_dim);
    }
}

/// dk and dv of one key/value head of one key row: over the query heads that share it in ascending order, and the queries.
__global__ void __launch_bounds__(on_gpu::kPairThreads)
    key_kernel(index_t items, PairRules rules, Operands op) {
    SY_SHARED(scratch, cuda::Array<std::uint64_t, cuda::kWarp>);
    SY_SHARED(probabilities, cuda::Array<float, on_gpu::kPairThreads>);
    SY_SHARED(dproducts, cuda::Array<float, on_gpu::kPairThreads>);
    const cuda::Team team{static_cast<int>(threadIdx.x), on_gpu::kPairThreads, scratch};
    const index_t group = rules.heads / rules.kv_heads;
    for (index_t item = blockIdx.x; item < items; item += gridDim.x) {
        const index_t key_row = item / rules.kv_heads;
        const index_t kv_head = item % rules.kv_heads;
        const index_t key = key_row % rules.num_keys;
        const index_t sequence = key_row / rules.num_keys * rules.seq_len;
        const index_t begin = rules.causal ? key : 0;
        const bool is_limited = rules.causal && rules.window != 0 && key + rules.window < rules.seq_len;
        const index_t end = is_limited ? key + rules.window : rules.seq_len;
        float dk[on_gpu::kPairCols] = {};
        float dv[on_gpu::kPairCols] = {};
        for (index_t head = kv_head * group; head < (kv_head + 1) * group; ++head) {
            for (index_t first = begin; first < end; first += team.size) {
                const index_t t = sequence + first + team.thread;
                const bool sees = first + team.thread < end && rules.keys_of_row(t).begin <= key;
                const Pair pair = sees ? pair_of(rules, op, t, key_row, head) : Pair{0.0F, 0.0F, 0.0F};
                probabilities[team.thread] = pair.probability;
                dproducts[team.thread] = pair.dproduct;
                team.wait();
                const int count = tile_size(end - first, team);
                add_rows(probabilities, op.dout.row(sequence + first) + head * rules.value_dim,
                         op.dout.stride, count, rules.value_dim, team, dv);
                add_rows(dproducts, op.q.row(sequence + first) + head * rules.head_dim, op.q.stride, count,
                         rules.head_dim, team, dk);
                team.wait();
            }
        }
        store_sums(dk, rules.head_dim, team, op.dk.row(key_row) + kv_head * rules.head_dim);
        store_sums(dv, rules.value_dim, team, op.dv.row(key_row) + kv_head * rules.value_dim);
    }
}

void compute_means(const PairRules& shape, const Operands& operands, const Context& context) {
    const PairRules rules = shape;
    const Operands op = operands;
    cuda::for_matrix(context, op.mean.rows, op.mean.cols, [=] __device__(index_t t, index_t head) {
        op.mean(t, head) = on_gpu::dot(op.dout.row(t) + head * rules.value_dim,
                                       op.out.row(t) + head * rules.value_dim, rules.value_dim);
    });
}

/// by_distance[sequence * heads + head, d] = sum of the scores' gradients of pairs that are so far apart, in the order of
/// queries.
void sum_distances(const PairRules& shape, const Operands& operands, index_t num_distances,
                   cuda::Matrix<float> by_distance, const Context& context) {
    const PairRules rules = shape;
    const Operands op = operands;
    cuda::for_matrix(context, by_distance.rows, num_distances, [=] __device__(index_t row, index_t d) {
        const index_t sequence = row / rules.heads;
        const index_t distance = rules.first_distance + d;
        float sum = 0.0F;
        for (index_t query = 0; query < rules.seq_len; ++query) {
            const index_t t = sequence * rules.seq_len + query;
            const Range seen = rules.keys_of_row(t);
            const index_t key = query + distance;
            if (key < seen.begin || key >= seen.end) continue;
            sum += pair_of(rules, op, t, sequence * rules.num_keys + key, row % rules.heads).dscore;
        }
        by_distance(row, d) = sum;
    });
}

/// dtable[bucket, head] += for each sequence in order the sum of its distances, in ascending order.
void add_to_table(const PairRules& shape, cuda::Matrix<const float> by_distance, const GradientRef& dtable,
                  const Context& context) {
    const PairRules rules = shape;
    const cuda::Gradient gradient(dtable);
    const index_t num_sequences = by_distance.rows / rules.heads;
    cuda::for_matrix(context, dtable.rows(), rules.heads, [=] __device__(index_t bucket, index_t head) {
        for (index_t sequence = 0; sequence < num_sequences; ++sequence) {
            float sum = 0.0F;
            for (index_t d = 0; d < by_distance.cols; ++d) {
                if (rules.buckets[d] == bucket) sum += by_distance(sequence * rules.heads + head, d);
            }
            gradient.add(bucket * rules.heads + head, sum);
        }
    });
}

}  // namespace

void on_cuda::attention_backward(const AttentionShape& shape, const AttentionBackward& operands,
                                 const Context& context) {
    const Range distances = on_gpu::distances_of(shape);
    SY_FITS(shape.head_dim <= on_gpu::kWidestHead, "attention_backward: heads of ", shape.head_dim,
            " columns, at most ", on_gpu::kWidestHead, " on a GPU");
    const on_gpu::Pairs pairs(shape, distances, context);
    const PairRules& rules = pairs.rules();
    Tensor means(context.device, DType::f32, {operands.q.rows(), shape.heads});
    const Operands op{cuda::view<const float>(operands.q),   cuda::view<const float>(operands.k),
                      cuda::view<const float>(operands.v),   cuda::view<const float>(operands.out),
                      cuda::view<const float>(operands.lse), cuda::view<const float>(operands.dout),
                      cuda::view<float>(operands.dq),        cuda::view<float>(operands.dk),
                      cuda::view<float>(operands.dv),        cuda::view<float>(means.ref())};
    compute_means(rules, op, context);
    const index_t query_items = operands.q.rows() * shape.heads;
    cuda::launch(context, {cuda::num_blocks(query_items, 1), on_gpu::kPairThreads}, query_kernel, query_items,
                 rules, op);
    const index_t key_items = operands.k.rows() * shape.kv_heads;
    cuda::launch(context, {cuda::num_blocks(key_items, 1), on_gpu::kPairThreads}, key_kernel, key_items,
                 rules, op);
    if (operands.dtable.is_null()) return;
    Tensor sums(context.device, DType::f32, {shape.num_sequences * shape.heads, distances.size()});
    sum_distances(rules, op, distances.size(), cuda::view<float>(sums.ref()), context);
    add_to_table(rules, cuda::view<const float>(sums.ref()), operands.dtable, context);
}

}  // namespace sy::ops
