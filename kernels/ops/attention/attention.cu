// One block of threads goes through the keys that one head of one query row sees, a tile at a time: each thread multiplies
// one key, then all add up the columns of the values. The softmax is corrected as larger scores come (online softmax,
// Milakov and Gimelshein, arXiv:1805.02867), so that no scores are stored. The tiles begin at the first key that the row
// sees, whatever else is in the call: so decoding gives the bits of forward.
#include "kernels/ops/attention/attention.hpp"

#include "kernels/cuda/cuda_bodies.hpp"
#include "kernels/ops/attention/pairs.cuh"

namespace sy::ops {
namespace {

/// One head of one query row, and where the keys begin that it sees.
struct Row {
    const float* query;
    const float* keys;
    index_t key_stride;
    const float* values;
    index_t value_stride;
    index_t count;
    index_t distance;  ///< of the first key from the query
    index_t head;
    index_t row_idx;    ///< of the call
    index_t first_key;  ///< in its sequence
    float* out;
    float* lse;  ///< null: not wanted
};

/// The items of a forward: T * heads.
struct ForwardRows {
    /// Blocks that a multiprocessor has to hold: with one more, registers of compute capability 8.0 are spilled.
    static constexpr int kResidentBlocks = 6;
    cuda::Matrix<const float> q;
    cuda::Matrix<const float> k;
    cuda::Matrix<const float> v;
    cuda::Matrix<float> out;
    cuda::Matrix<float> lse;

    __device__ Row row(const on_gpu::PairRules& rules, index_t item) const {
        const index_t t = item / rules.heads;
        const index_t head = item % rules.heads;
        const Range seen = rules.keys_of_row(t);
        const index_t first = t / rules.seq_len * rules.num_keys + seen.begin;
        return {q.row(t) + head * rules.head_dim,
                k.row(first) + rules.kv_head(head) * rules.head_dim,
                k.stride,
                v.row(first) + rules.kv_head(head) * rules.value_dim,
                v.stride,
                seen.size(),
                seen.begin - t % rules.seq_len,
                head,
                t,
                seen.begin,
                out.row(t) + head * rules.value_dim,
                &lse(t, head)};
    }
};

/// Those of a decode: B * heads.
struct NewestRows {
    static constexpr int kResidentBlocks = 8;
    cuda::Matrix<const float> q;
    cuda::Matrix<const float> k;
    cuda::Matrix<const float> v;
    const index_t* cache;
    const index_t* length;
    index_t capacity;
    cuda::Matrix<float> out;

    __device__ Row row(const on_gpu::PairRules& rules, index_t item) const {
        const index_t b = item / rules.heads;
        const index_t head = item % rules.heads;
        const index_t count = rules.window == 0 || length[b] < rules.window ? length[b] : rules.window;
        const index_t first = cache[b] * capacity + length[b] - count;
        return {q.row(b) + head * rules.head_dim,
                k.row(first) + rules.kv_head(head) * rules.head_dim,
                k.stride,
                v.row(first) + rules.kv_head(head) * rules.value_dim,
                v.stride,
                count,
                1 - count,
                head,
                b,
                length[b] - count,
                out.row(b) + head * rules.value_dim,
                nullptr};
    }
};

/// What has been added up over the keys so far.
struct Softmax {
    float largest = -__builtin_inff();
    float sum = 0.0F;
};

/// Takes the scores of a tile in: a thread's own one, -infinity where it has none.
/// @return what sums so far are multiplied by
__device__ float take_tile(float score, const cuda::Team& team, Softmax& softmax, float& power) {
    const float tile_largest = team.largest(score);
    const float largest = softmax.largest > tile_largest ? softmax.largest : tile_largest;
    power = expf(score - largest);
    const float correction = expf(softmax.largest - largest);
    softmax.sum = softmax.sum * correction + team.sum(power);
    softmax.largest = largest;
    return correction;
}

__device__ void attend(const on_gpu::PairRules& rules, const Row& row, float* weights,
                       const cuda::Team& team) {
    constexpr int kCols = on_gpu::kPairCols;
    constexpr index_t kThreads = on_gpu::kPairThreads;
    float sums[kCols] = {};
    Softmax softmax;
    for (index_t first = 0; first < row.count; first += team.size) {
        const index_t key = first + team.thread;
        float score = -__builtin_inff();
        if (key < row.count)
            score = rules.score(on_gpu::dot(row.query, row.keys + key * row.key_stride, rules.head_dim),
                                row.head, row.distance + key);
        float power = 0.0F;
        const float correction = take_tile(score, team, softmax, power);
        weights[team.thread] =
            key < row.count ? power * rules.keep_of(row.row_idx, row.head, row.first_key + key) : 0.0F;
        team.wait();
        const int in_tile = row.count - first < team.size ? static_cast<int>(row.count - first) : team.size;
#pragma unroll
        for (int c = 0; c < kCols; ++c) {
            const index_t col = team.thread + c * kThreads;
            if (col < rules.value_dim) {
                float sum = sums[c] * correction;
                for (int j = 0; j < in_tile; ++j)
                    sum = fmaf(weights[j], row.values[(first + j) * row.value_stride + col], sum);
                sums[c] = sum;
            }
        }
        team.wait();
    }
#pragma unroll
    for (int c = 0; c < kCols; ++c) {
        const index_t col = team.thread + c * kThreads;
        if (col < rules.value_dim) row.out[col] = sums[c] / softmax.sum;
    }
    if (row.lse != nullptr && team.thread == 0)
        *row.lse =
            static_cast<float>(static_cast<double>(softmax.largest) + log(static_cast<double>(softmax.sum)));
}

template <class Rows>
__global__ void __launch_bounds__(on_gpu::kPairThreads, Rows::kResidentBlocks)
    attend_kernel(index_t items, on_gpu::PairRules rules, Rows rows) {
    SY_SHARED(scratch, cuda::Array<std::uint64_t, cuda::kWarp>);
    SY_SHARED(weights, cuda::Array<float, on_gpu::kPairThreads>);
    const cuda::Team team{static_cast<int>(threadIdx.x), on_gpu::kPairThreads, scratch};
    for (index_t item = blockIdx.x; item < items; item += gridDim.x)
        attend(rules, rows.row(rules, item), weights, team);
}

template <class Rows>
void attend_all(index_t items, const on_gpu::Pairs& pairs, const Rows& rows, const Context& context) {
    cuda::launch(context, {cuda::num_blocks(items, 1), on_gpu::kPairThreads}, attend_kernel<Rows>, items,
                 pairs.rules(), rows);
}

}  // namespace

void on_cuda::attention(const AttentionShape& shape, ConstTensorRef q, ConstTensorRef k, ConstTensorRef v,
                        TensorRef out, TensorRef lse, const Context& context) {
    const on_gpu::Pairs pairs(shape, on_gpu::distances_of(shape), context);
    const ForwardRows rows{cuda::view<const float>(q), cuda::view<const float>(k), cuda::view<const float>(v),
                           cuda::view<float>(out), cuda::view<float>(lse)};
    attend_all(q.rows() * shape.heads, pairs, rows, context);
}

void on_cuda::attention_decode(const AttentionShape& shape, ConstTensorRef q, ConstTensorRef k_cache,
                               ConstTensorRef v_cache, const DecodeRows& rows, TensorRef out,
                               const Context& context) {
    // Where the host does not know the lengths, any may be as long as the caches.
    const index_t longest =
        rows.length.is_of_host() ? std::ranges::max(rows.length.of_host()) : rows.capacity;
    const index_t furthest = shape.window == 0 ? longest : std::min(shape.window, longest);
    AttentionShape newest = shape;
    newest.first_keys = {};  // rows are those of the caches alone
    const on_gpu::Pairs pairs(newest, {1 - furthest, 1}, context);
    const cuda::HostList<index_t> cache(rows.cache, context);
    const cuda::HostList<index_t> length(rows.length, context);
    const NewestRows newest_rows{cuda::view<const float>(q),
                                 cuda::view<const float>(k_cache),
                                 cuda::view<const float>(v_cache),
                                 cache.data(),
                                 length.data(),
                                 rows.capacity,
                                 cuda::view<float>(out)};
    attend_all(q.rows() * shape.heads, pairs, newest_rows, context);
}

}  // namespace sy::ops
