#include "kernels/core/fits.hpp"
#include "kernels/ops/attention/blocks.hpp"
#include "kernels/ops/cpu_device.hpp"

#include <algorithm>
#include <cmath>

namespace sy::ops::detail {

void check_rules(const AttentionShape& shape) {
    SY_FITS(shape.kv_heads > 0 && shape.heads > 0 && shape.heads % shape.kv_heads == 0 &&
                shape.head_dim > 0 && shape.value_width() > 0 && shape.scale > 0.0F &&
                std::isfinite(shape.scale),
            "attention: ", shape.heads, " heads over ", shape.kv_heads, " of ", shape.head_dim,
            ", values of ", shape.value_width(), ", scale ", shape.scale);
    SY_FITS(shape.window >= 0 && (shape.window == 0 || shape.visibility == Visibility::causal),
            "attention: a window of ", shape.window, " (expected 0 or more, 0 unless causal)");
    // Scores are divided by a cap: one that is no normal number has no finite inverse.
    SY_FITS(shape.soft_cap == 0.0F || (shape.soft_cap > 0.0F && std::isnormal(shape.soft_cap)),
            "attention: soft cap ", shape.soft_cap);
    const PositionBias& bias = shape.bias;
    SY_FITS(bias.slopes.empty() || static_cast<index_t>(bias.slopes.size()) == shape.heads,
            "attention: ", bias.slopes.size(), " ALiBi slopes for ", shape.heads, " heads");
    if (!bias.table.is_null()) {
        SY_FITS(bias.slopes.empty() && bias.table.cols() == shape.heads, "attention: bias table [",
                bias.table.rows(), ", ", bias.table.cols(), "] and ", bias.slopes.size(),
                " ALiBi slopes for ", shape.heads, " heads (expected one of the two)");
        // Refuses what has no buckets.
        t5_bucket(0, bias.table.rows(), bias.max_distance, shape.visibility);
    }
    SY_FITS(shape.dropout.probability >= 0.0F && shape.dropout.probability < 1.0F &&
                shape.dropout.first_token >= 0,
            "attention: dropout of ", shape.dropout.probability, " (expected in [0, 1)) from token ",
            shape.dropout.first_token);
}

namespace {

/// @throws ShapeError unless first keys stand for documents one after another
void check_first_keys(const AttentionShape& shape) {
    if (shape.first_keys.empty()) return;
    const auto rows = static_cast<index_t>(shape.first_keys.size());
    SY_FITS(rows == shape.num_sequences * shape.seq_len && shape.visibility == Visibility::causal,
            "attention: first keys of ", rows, " queries (expected ", shape.num_sequences, " x ",
            shape.seq_len, ", in causal attention)");
    index_t before = 0;
    for (index_t row = 0; row < rows; ++row) {
        const index_t query = row % shape.seq_len;
        const index_t first = shape.first_keys[static_cast<std::size_t>(row)];
        if (query == 0) before = 0;
        SY_FITS(first >= before && first <= query, "attention: query ", query, " of sequence ",
                row / shape.seq_len, " has first key ", first, " (expected ", before, " to ", query, ")");
        before = first;
    }
}

}  // namespace

void check_operands(const AttentionShape& shape, ConstTensorRef q, ConstTensorRef k, ConstTensorRef v) {
    check_rules(shape);
    const index_t keys = shape.num_keys();
    SY_FITS(keys >= 0 && (keys > 0 || shape.seq_len == 0) &&
                (keys == shape.seq_len || shape.visibility == Visibility::all),
            "attention: ", shape.seq_len, " queries on ", keys,
            " keys (expected as many unless all are visible)");
    check_first_keys(shape);
    const index_t key_rows = shape.num_sequences * keys;
    SY_FITS(q.rows() == shape.num_sequences * shape.seq_len && k.rows() == key_rows && v.rows() == key_rows &&
                q.cols() == shape.heads * shape.head_dim && k.cols() == shape.kv_heads * shape.head_dim &&
                v.cols() == shape.kv_heads * shape.value_width(),
            "attention: ", shape.num_sequences, " sequences of ", shape.seq_len, " and ", keys, " keys, ",
            shape.heads, " heads over ", shape.kv_heads, " of ", shape.head_dim, " and ", shape.value_width(),
            "; q [", q.rows(), ", ", q.cols(), "], k [", k.rows(), ", ", k.cols(), "], v [", v.rows(), ", ",
            v.cols(), "]");
}

TransposedHeads::TransposedHeads(const AttentionShape& shape, HeadLayout layout, MatrixView<const float> x,
                                 const Context& context)
    : kv_heads_(shape.kv_heads),
      layout_(layout),
      pitch_(pitch_of(layout.length)),
      memory_(context.device, DType::f32, {shape.num_sequences * kv_heads_, layout.width, pitch_}) {
    float* const memory = memory_.values<float>().data();
    cpu(context).team().for_tasks(shape.num_sequences * kv_heads_, [&](index_t task, int) {
        const MatrixView<const float> source = layout_.part(x, task / kv_heads_, task % kv_heads_);
        float* const target = memory + task * source.cols * pitch_;
        // Squares of 16 keep both sides in the first-level cache.
        for (index_t first = 0; first < source.rows; first += simd::kLanes) {
            const index_t end = std::min(first + simd::kLanes, source.rows);
            for (index_t d = 0; d < source.cols; ++d) {
                for (index_t s = first; s < end; ++s)
                    target[d * pitch_ + s] = source.data[s * source.stride + d];
            }
        }
    });
}

MatrixView<const float> TransposedHeads::keys_of(index_t sequence, index_t kv_head, Range keys) const {
    const index_t first = (sequence * kv_heads_ + kv_head) * layout_.width * pitch_;
    return {memory_.values<float>().data() + first + keys.begin, layout_.width, keys.size(), pitch_};
}

}  // namespace sy::ops::detail
