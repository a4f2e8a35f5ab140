#pragma once

#include "kernels/core/simd_tanh.hpp"
#include "kernels/ops/attention/attention.hpp"
#include "kernels/ops/dropout/keep.hpp"

/// Shared by the bodies of attention: from the products of a query row to its probabilities.
namespace sy::ops::detail {

SY_INLINE float dot(const float* a, const float* b, index_t count) {
    simd::f32x16 sums{};
    simd::for_lanes(
        count, [&](index_t i, auto load, auto) SY_BODY { sums = simd::fma(load(a + i), load(b + i), sums); });
    return simd::sum(sums);
}

/// How the products of one head become its scores.
struct ScoreRule {
    float scale;
    float soft_cap;     ///< 0: none
    const float* bias;  ///< of distance 0, see RelativeBias; null: none

    bool is_plain() const { return soft_cap == 0.0F && bias == nullptr; }
};

/// Products of a query row become its scores, up to the factor that is returned: a plain rule touches nothing, because
/// the softmax multiplies anyway.
/// @param distance  of the first key from the query
SY_INLINE float finish_scores(float* row, index_t count, const ScoreRule& rule, index_t distance) {
    if (rule.is_plain()) return rule.scale;
    const float* const bias = rule.bias == nullptr ? nullptr : rule.bias + distance;
    if (rule.soft_cap == 0.0F) {
        simd::for_lanes(count, [&](index_t j, auto load, auto store) SY_BODY {
            store(row + j, simd::fma(load(row + j), simd::splat(rule.scale), load(bias + j)));
        });
        return 1.0F;
    }
    const float inward = rule.scale / rule.soft_cap;
    simd::for_lanes(count, [&](index_t j, auto load, auto store) SY_BODY {
        const simd::f32x16 shift = bias == nullptr ? simd::f32x16{} : load(bias + j);
        store(row + j, simd::fma(simd::tanh(load(row + j) * inward), simd::splat(rule.soft_cap), shift));
    });
    return 1.0F;
}

struct RowSoftmax {
    float largest;  ///< of the scaled scores
    float sum;      ///< of e^(score - largest), which the row then holds
};

/// Scores of a query row become e^(scale * score - largest) over its first `count` keys.
SY_INLINE RowSoftmax exponentiate_row(float* row, index_t count, float scale) {
    const simd::f32x16 lowest = simd::splat(-__builtin_inff());
    simd::f32x16 highest = lowest;
    index_t i = 0;
    for (; i + simd::kLanes <= count; i += simd::kLanes) highest = simd::max(simd::load(row + i), highest);
    if (i < count) highest = simd::max(simd::load_part(row + i, count - i, -__builtin_inff()), highest);
    const float largest = simd::max_lane(highest) * scale;
    simd::f32x16 sums{};
    for (i = 0; i + simd::kLanes <= count; i += simd::kLanes) {
        const simd::f32x16 power =
            simd::exp(simd::fma(simd::load(row + i), simd::splat(scale), simd::splat(-largest)));
        simd::store(row + i, power);
        sums += power;
    }
    if (i < count) {
        const simd::f32x16 scores = simd::load_part(row + i, count - i, -__builtin_inff());
        const simd::f32x16 power = simd::exp(simd::fma(scores, simd::splat(scale), simd::splat(-largest)));
        simd::store_part(row + i, power, count - i);
        sums += power;
    }
    return {largest, simd::sum(sums)};
}

/// Which probabilities of a call are dropped, drawn again wherever they are needed.
class DropoutMask {
  public:
    explicit DropoutMask(const AttentionShape& shape)
        : dropout_(shape.dropout),
          rule_(keep_rule(shape.dropout.probability)),
          heads_(shape.heads),
          pitch_(round_up(shape.num_keys(), 4)) {}

    bool is_empty() const { return dropout_.probability == 0.0F; }
    /// Scratch elements for rows of so many keys; none when there is nothing to drop.
    index_t row_elements(index_t num_keys) const {
        return is_empty() ? 0 : round_up(num_keys + 3, simd::kPhiloxWords);
    }
    /// 0 or 1 / (1 - probability) for some keys of a head of a query row.
    /// @param row      of the call
    /// @param scratch  row_elements(keys.size())
    SY_INLINE const float* factors_of(index_t row, index_t head, Range keys, float* scratch) const {
        const index_t skipped = keys.begin % 4;
        const index_t first = ((dropout_.first_token + row) * heads_ + head) * pitch_ + keys.begin - skipped;
        for (index_t start = 0; start < skipped + keys.size(); start += simd::kPhiloxWords)
            keep_factors(rule_, dropout_.key, static_cast<std::uint64_t>((first + start) / 4),
                         scratch + start);
        return scratch + skipped;
    }

  private:
    AttentionDropout dropout_;
    KeepRule rule_;
    index_t heads_;
    index_t pitch_;
};

}  // namespace sy::ops::detail
