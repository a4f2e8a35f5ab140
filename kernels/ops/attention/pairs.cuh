#pragma once

#include <algorithm>
#include <vector>

#include "kernels/core/fits.hpp"
#include "kernels/cuda/host_list.hpp"
#include "kernels/cuda/team.hpp"
#include "kernels/ops/attention/attention.hpp"
#include "kernels/ops/dropout/keep.cuh"

/// Shared by the bodies of attention on a GPU: which keys a query sees, and what a pair of both contributes.
namespace sy::ops::on_gpu {

/// Threads of a block: each takes a key (or a query) of a tile, then some columns of the head.
inline constexpr int kPairThreads = 128;
/// Columns of a thread at most, which stay in registers.
inline constexpr int kPairCols = 4;
inline constexpr index_t kWidestHead = index_t{kPairThreads} * kPairCols;

/// What kernels need of an AttentionShape.
struct PairRules {
    index_t seq_len;
    index_t num_keys;
    index_t heads;
    index_t kv_heads;
    index_t head_dim;
    index_t value_dim;
    index_t window;
    bool causal;
    float scale;
    float soft_cap;
    const index_t* first_keys;        ///< [T]; null: 0
    const float* slopes;              ///< [heads]; null: none
    cuda::Matrix<const float> table;  ///< [buckets, heads]; null data: none
    const std::int32_t* buckets;      ///< of distances from first_distance on
    index_t first_distance;
    detail::KeepRule keep;
    RandomKey dropout_key;
    index_t dropout_token;
    index_t dropout_pitch;  ///< 0: nothing is dropped

    __device__ index_t kv_head(index_t head) const { return head / (heads / kv_heads); }
    /// Keys of its sequence that a query row of the call sees.
    __device__ Range keys_of_row(index_t row) const {
        if (!causal) return {0, num_keys};
        const index_t query = row % seq_len;
        index_t first = window == 0 ? 0 : query + 1 - window;
        if (first < 0) first = 0;
        if (first_keys != nullptr && first_keys[row] > first) first = first_keys[row];
        return {first, query + 1};
    }
    __device__ float bias(index_t head, index_t distance) const {
        if (slopes != nullptr) return -slopes[head] * static_cast<float>(distance < 0 ? -distance : distance);
        if (table.data != nullptr) return table(buckets[distance - first_distance], head);
        return 0.0F;
    }
    __device__ float score(float product, index_t head, index_t distance) const {
        const float scaled = product * scale;
        const float capped = soft_cap == 0.0F ? scaled : soft_cap * tanhf(scaled / soft_cap);
        return capped + bias(head, distance);
    }
    /// Of the score by the product.
    __device__ float slope(float product) const {
        if (soft_cap == 0.0F) return scale;
        const float capped = tanhf(product * scale / soft_cap);
        return fmaf(-capped, capped, 1.0F) * scale;
    }
    /// 0 or 1 / (1 - probability) for a key of a head of a query row of the call.
    __device__ float keep_of(index_t row, index_t head, index_t key) const {
        if (dropout_pitch == 0) return 1.0F;
        return keep_factor(keep, dropout_key, ((dropout_token + row) * heads + head) * dropout_pitch + key);
    }
};

inline __device__ float dot(const float* a, const float* b, index_t count) {
    float sum = 0.0F;
    for (index_t i = 0; i < count; ++i) sum = fmaf(a[i], b[i], sum);
    return sum;
}

/// The rules of a call with the lists that they point to, in the memory of the GPU.
class Pairs {
  public:
    /// @param distances  j - i that will be looked up
    /// @throws ShapeError when a head is wider than a block of threads can hold
    Pairs(const AttentionShape& shape, Range distances, const Context& context)
        : first_keys_(shape.first_keys, context),
          slopes_(shape.bias.slopes, context),
          buckets_(buckets_of(shape, distances), context) {
        const index_t widest = std::max(shape.head_dim, shape.value_width());
        SY_FITS(shape.value_width() <= kWidestHead, "attention: heads of ", widest, " columns, at most ",
                kWidestHead, " on a GPU");
        const AttentionDropout& dropout = shape.dropout;
        rules_ = {shape.seq_len,
                  shape.num_keys(),
                  shape.heads,
                  shape.kv_heads,
                  shape.head_dim,
                  shape.value_width(),
                  shape.window,
                  shape.visibility == Visibility::causal,
                  shape.scale,
                  shape.soft_cap,
                  first_keys_.data(),
                  slopes_.data(),
                  cuda::view<const float>(shape.bias.table),
                  buckets_.data(),
                  distances.begin,
                  detail::keep_rule(dropout.probability),
                  dropout.key,
                  dropout.first_token,
                  dropout.probability == 0.0F ? 0 : round_up(shape.num_keys(), 4)};
    }
    const PairRules& rules() const { return rules_; }

  private:
    static std::vector<std::int32_t> buckets_of(const AttentionShape& shape, Range distances) {
        std::vector<std::int32_t> buckets;
        if (shape.bias.table.is_null()) return buckets;
        for (index_t distance = distances.begin; distance < distances.end; ++distance)
            buckets.push_back(static_cast<std::int32_t>(
                t5_bucket(distance, shape.bias.table.rows(), shape.bias.max_distance, shape.visibility)));
        return buckets;
    }

    cuda::HostList<index_t> first_keys_;
    cuda::HostList<float> slopes_;
    cuda::HostList<std::int32_t> buckets_;
    PairRules rules_;
};

/// Distances j - i of keys from queries that see them.
inline Range distances_of(const AttentionShape& shape) {
    if (shape.visibility == Visibility::all) return {1 - shape.seq_len, shape.num_keys()};
    const index_t furthest = shape.window == 0 ? shape.seq_len : std::min(shape.window, shape.seq_len);
    return {1 - furthest, 1};
}

}  // namespace sy::ops::on_gpu
