#include <cmath>

#include "kernels/core/simd.hpp"
#include "kernels/ops/gate/gate.hpp"

namespace sy::ops {
namespace {

SY_MULTIVERSION float softmax_of_row(const float* logits, index_t count, float* scores) {
    simd::f32x16 highest = simd::splat(-__builtin_inff());
    index_t i = 0;
    for (; i + simd::kLanes <= count; i += simd::kLanes) highest = simd::max(highest, simd::load(logits + i));
    if (i < count) highest = simd::max(highest, simd::load_part(logits + i, count - i, -__builtin_inff()));
    const float largest = simd::max_lane(highest);
    simd::f32x16 sums{};
    for (i = 0; i + simd::kLanes <= count; i += simd::kLanes) {
        const simd::f32x16 power = simd::exp(simd::load(logits + i) - largest);
        simd::store(scores + i, power);
        sums += power;
    }
    if (i < count) {
        const simd::f32x16 power =
            simd::exp(simd::load_part(logits + i, count - i, -__builtin_inff()) - largest);
        simd::store_part(scores + i, power, count - i);
        sums += power;
    }
    const float sum = simd::sum(sums);
    const float inverse = 1.0F / sum;
    for (index_t e = 0; e < count; ++e) scores[e] *= inverse;
    return largest + std::log(sum);
}

/// Insertion into a short list kept in descending order: equal scores stay behind the lower expert. The common
/// case is one comparison with the last of the list.
void top_k_of_row(const float* scores, index_t count, index_t top_k, std::int32_t* expert, float* weight) {
    index_t found = 0;
    for (index_t e = 0; e < count; ++e) {
        const float score = scores[e];
        if (found == top_k && !(score > weight[top_k - 1])) continue;
        index_t place = found < top_k ? found++ : top_k - 1;
        while (place > 0 && score > weight[place - 1]) {
            weight[place] = weight[place - 1];
            expert[place] = expert[place - 1];
            --place;
        }
        weight[place] = score;
        expert[place] = static_cast<std::int32_t>(e);
    }
}

void renormalise_row(float* weight, index_t top_k) {
    float sum = 0.0F;
    for (index_t j = 0; j < top_k; ++j) sum += weight[j];
    for (index_t j = 0; j < top_k; ++j) weight[j] /= sum;
}

/// Gradient of all scores of a token into `row`: the broadcast part and the chosen ones through renormalisation.
void score_gradient(const GateBackward& in, index_t t, float* row) {
    for (index_t e = 0; e < in.scores.cols; ++e)
        row[e] = in.dscore.empty() ? 0.0F : in.dscore[static_cast<std::size_t>(e)];
    float sum = 0.0F;
    float dot = 0.0F;
    for (index_t j = 0; j < in.expert.cols; ++j) {
        const float score = in.scores(t, in.expert(t, j));
        sum += score;
        dot += score * in.dweight(t, j);
    }
    const bool renormalised = in.renormalise == Renormalise::yes;
    for (index_t j = 0; j < in.expert.cols; ++j) {
        const float direct = in.dweight(t, j);
        row[in.expert(t, j)] += renormalised ? (direct - dot / sum) / sum : direct;
    }
}

SY_MULTIVERSION void softmax_backward_row(const float* scores, float dlse, index_t count, float* row) {
    simd::f32x16 products{};
    simd::for_lanes(
        count, [&](index_t i, auto load, auto)
                   __attribute__((always_inline)) { products += load(row + i) * load(scores + i); });
    const float shift = dlse - simd::sum(products);
    for (index_t e = 0; e < count; ++e) row[e] = scores[e] * (row[e] + shift);
}

}  // namespace

void gate_softmax(MatrixView<const float> logits, MatrixView<float> scores, std::span<float> lse,
                  const Context& context) {
    SY_REQUIRE(scores.rows == logits.rows && scores.cols == logits.cols && logits.cols > 0 &&
                   static_cast<index_t>(lse.size()) == logits.rows,
               "gate_softmax: logits [", logits.rows, ", ", logits.cols, "], scores [", scores.rows, ", ",
               scores.cols, "]");
    context.team.for_ranges(logits.rows, 16, [&](index_t begin, index_t end) {
        for (index_t t = begin; t < end; ++t) {
            lse[static_cast<std::size_t>(t)] = softmax_of_row(logits.row(t), logits.cols, scores.row(t));
        }
    });
}

void gate_top_k(MatrixView<const float> scores, Renormalise renormalise, MatrixView<std::int32_t> expert,
                MatrixView<float> weight, const Context& context) {
    SY_REQUIRE(expert.cols >= 1 && expert.cols <= scores.cols && weight.cols == expert.cols &&
                   expert.rows == scores.rows && weight.rows == scores.rows,
               "gate_top_k: ", expert.cols, " of ", scores.cols, " experts for ", scores.rows, " tokens");
    context.team.for_ranges(scores.rows, 16, [&](index_t begin, index_t end) {
        for (index_t t = begin; t < end; ++t) {
            top_k_of_row(scores.row(t), scores.cols, expert.cols, expert.row(t), weight.row(t));
            if (renormalise == Renormalise::yes) renormalise_row(weight.row(t), weight.cols);
        }
    });
}

void gate_backward(const GateBackward& in, MatrixView<float> dlogits, const Context& context) {
    SY_REQUIRE(dlogits.rows == in.scores.rows && dlogits.cols == in.scores.cols &&
                   in.expert.rows == in.scores.rows && in.dweight.rows == in.scores.rows &&
                   in.dweight.cols == in.expert.cols,
               "gate_backward: scores [", in.scores.rows, ", ", in.scores.cols, "], dlogits [", dlogits.rows,
               ", ", dlogits.cols, "], weights [", in.dweight.rows, ", ", in.dweight.cols, "]");
    context.team.for_ranges(in.scores.rows, 16, [&](index_t begin, index_t end) {
        for (index_t t = begin; t < end; ++t) {
            score_gradient(in, t, dlogits.row(t));
            const float dlse = in.dlse.empty() ? 0.0F : in.dlse[static_cast<std::size_t>(t)];
            softmax_backward_row(in.scores.row(t), dlse, in.scores.cols, dlogits.row(t));
        }
    });
}

}  // namespace sy::ops
