#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/core/profile.hpp"
#include "kernels/core/simd.hpp"
#include "kernels/ops/gate/gate.hpp"

namespace sy::ops {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

/// @return logsumexp of the row
SY_INLINE float softmax_of_row(const float* logits, index_t count, float* scores) {
    const index_t whole = count - count % simd::kLanes;
    const index_t rest = count - whole;
    simd::f32x16 highest = simd::splat(-kInfinity);
    for (index_t i = 0; i < whole; i += simd::kLanes) highest = simd::max(highest, simd::load(logits + i));
    if (rest > 0) highest = simd::max(highest, simd::load_part(logits + whole, rest, -kInfinity));
    const float largest = simd::max_lane(highest);
    simd::f32x16 sums{};
    for (index_t i = 0; i < whole; i += simd::kLanes) {
        const simd::f32x16 power = simd::exp(simd::load(logits + i) - largest);
        simd::store(scores + i, power);
        sums += power;
    }
    if (rest > 0) {
        const simd::f32x16 power = simd::exp(simd::load_part(logits + whole, rest, -kInfinity) - largest);
        simd::store_part(scores + whole, power, rest);
        sums += power;
    }
    const float sum = simd::sum(sums);
    const float inverse = 1.0F / sum;
    for (index_t e = 0; e < count; ++e) scores[e] *= inverse;
    return largest + static_cast<float>(std::log(static_cast<double>(sum)));
}

SY_MULTIVERSION void softmax_rows(MatrixView<const float> logits, Range rows, MatrixView<float> scores,
                                  float* lse) {
    for (index_t t = rows.begin; t < rows.end; ++t)
        lse[t] =
            softmax_of_row(logits.data + t * logits.stride, logits.cols, scores.data + t * scores.stride);
}

/// Keys are taken in descending order; no score has this one.
constexpr std::int64_t kTaken = std::numeric_limits<std::int64_t>::min();
/// Keys are looked through in four vectors at a time, and padded to that.
using i64x8 = std::int64_t __attribute__((vector_size(64)));
constexpr index_t kKeyStep = 32;

/// An integer that is in the order of the scores and, among equal scores, of descending experts: the upper half is
/// the float's bits made monotonic (0 and -0 equal, NaN beyond the infinities), the lower ~expert.
SY_INLINE void make_keys(const float* scores, index_t count, std::int64_t* keys) {
    for (index_t e = 0; e < count; ++e) {
        const auto bits = std::bit_cast<std::int32_t>(scores[e] + 0.0F);
        const std::int32_t monotonic = bits ^ ((bits >> 31) & 0x7fffffff);
        keys[e] = static_cast<std::int64_t>((static_cast<std::uint64_t>(monotonic) << 32) |
                                            (~static_cast<std::uint64_t>(e) & 0xffffffffU));
    }
    for (index_t e = count; e < round_up(count, kKeyStep); ++e) keys[e] = kTaken;
}

SY_INLINE i64x8 larger(i64x8 a, i64x8 b) {
    i64x8 result;
#pragma omp simd
    for (int lane = 0; lane < 8; ++lane) result[lane] = a[lane] > b[lane] ? a[lane] : b[lane];
    return result;
}

SY_INLINE i64x8 load_keys(const std::int64_t* keys) {
    i64x8 value;
    std::memcpy(&value, keys, sizeof(value));
    return value;
}

SY_INLINE std::int64_t largest_key(const std::int64_t* keys, index_t count) {
    i64x8 first = load_keys(keys);
    i64x8 second = load_keys(keys + 8);
    i64x8 third = load_keys(keys + 16);
    i64x8 fourth = load_keys(keys + 24);
    for (index_t e = kKeyStep; e < count; e += kKeyStep) {
        first = larger(first, load_keys(keys + e));
        second = larger(second, load_keys(keys + e + 8));
        third = larger(third, load_keys(keys + e + 16));
        fourth = larger(fourth, load_keys(keys + e + 24));
    }
    i64x8 all = larger(larger(first, second), larger(third, fourth));
    all = larger(all, __builtin_shufflevector(all, all, 4, 5, 6, 7, 0, 1, 2, 3));
    all = larger(all, __builtin_shufflevector(all, all, 2, 3, 0, 1, 6, 7, 4, 5));
    return std::max<std::int64_t>(all[0], all[1]);
}

/// The largest key, taken K times: no branch depends on the data, which a sorted list's insertions cannot offer.
SY_MULTIVERSION void top_k_rows(MatrixView<const float> scores, Range rows, Renormalise renormalise,
                                std::int64_t* keys, MatrixView<std::int32_t> expert,
                                MatrixView<float> weight) {
    for (index_t t = rows.begin; t < rows.end; ++t) {
        const float* const row = scores.data + t * scores.stride;
        std::int32_t* const chosen = expert.data + t * expert.stride;
        float* const target = weight.data + t * weight.stride;
        make_keys(row, scores.cols, keys);
        float sum = 0.0F;
        for (index_t j = 0; j < expert.cols; ++j) {
            const std::int64_t best = largest_key(keys, scores.cols);
            const auto e = static_cast<std::int32_t>(~static_cast<std::uint32_t>(best));
            keys[e] = kTaken;
            chosen[j] = e;
            target[j] = row[e];
            sum += row[e];
        }
        if (renormalise == Renormalise::no) continue;
        for (index_t j = 0; j < weight.cols; ++j) target[j] /= sum;
    }
}

/// dlogits = score * (dscore + dlse - sum of score * dscore), where dscore is the broadcast part plus, at the
/// chosen experts, the gradient through renormalisation (whose products with the scores add up to 0).
SY_MULTIVERSION void backward_rows(const GateBackward& in, Range rows, MatrixView<float> dlogits) {
    const index_t num_experts = in.scores.cols;
    for (index_t t = rows.begin; t < rows.end; ++t) {
        const float* const scores = in.scores.data + t * in.scores.stride;
        const std::int32_t* const chosen = in.expert.data + t * in.expert.stride;
        const float* const dweight = in.dweight.data + t * in.dweight.stride;
        float* const row = dlogits.data + t * dlogits.stride;
        float sum = 0.0F;
        float dot = 0.0F;
        for (index_t j = 0; j < in.expert.cols; ++j) {
            sum += scores[chosen[j]];
            dot += scores[chosen[j]] * dweight[j];
        }
        const bool renormalised = in.renormalise == Renormalise::yes;
        float inner = renormalised ? 0.0F : dot;
        const float* const dscore = in.dscore.data();
        if (dscore != nullptr) {
            simd::f32x16 products{};
            simd::for_lanes(
                num_experts, [&](index_t i, auto load, auto) __attribute__((always_inline)) {
                    products += load(scores + i) * load(dscore + i);
                });
            inner += simd::sum(products);
        }
        const float shift = (in.dlse.empty() ? 0.0F : in.dlse[static_cast<std::size_t>(t)]) - inner;
        simd::for_lanes(
            num_experts, [&](index_t i, auto load, auto store) __attribute__((always_inline)) {
                const simd::f32x16 direct = dscore == nullptr ? simd::f32x16{} : load(dscore + i);
                store(row + i, load(scores + i) * (direct + shift));
            });
        for (index_t j = 0; j < in.expert.cols; ++j) {
            const float direct = renormalised ? (dweight[j] - dot / sum) / sum : dweight[j];
            row[chosen[j]] += scores[chosen[j]] * direct;
        }
    }
}

}  // namespace

void gate_softmax(MatrixView<const float> logits, MatrixView<float> scores, std::span<float> lse,
                  const Context& context) {
    SY_REQUIRE(scores.rows == logits.rows && scores.cols == logits.cols && logits.cols > 0 &&
                   static_cast<index_t>(lse.size()) == logits.rows,
               "gate_softmax: logits [", logits.rows, ", ", logits.cols, "], scores [", scores.rows, ", ",
               scores.cols, "], ", lse.size(), " logsumexps");
    const Timed timed(context, OpKind::routing, 4.0 * static_cast<double>(logits.rows * logits.cols));
    context.team.for_ranges(logits.rows, 16, [&](index_t begin, index_t end) {
        softmax_rows(logits, {begin, end}, scores, lse.data());
    });
}

void gate_top_k(MatrixView<const float> scores, Renormalise renormalise, MatrixView<std::int32_t> expert,
                MatrixView<float> weight, const Context& context) {
    SY_REQUIRE(expert.cols >= 1 && expert.cols <= scores.cols && weight.cols == expert.cols &&
                   expert.rows == scores.rows && weight.rows == scores.rows,
               "gate_top_k: ", expert.cols, " of ", scores.cols, " experts for ", scores.rows,
               " tokens into [", expert.rows, ", ", expert.cols, "] and [", weight.rows, ", ", weight.cols,
               "]");
    const Timed timed(context, OpKind::routing, static_cast<double>(scores.rows * scores.cols));
    constexpr index_t kBlock = 64;
    Tensor keys(context.arena, DType::i64, {context.team.size(), round_up(scores.cols, kKeyStep)});
    const MatrixView<std::int64_t> scratch = keys.matrix<std::int64_t>();
    context.team.for_tasks(ceil_div(scores.rows, kBlock), [&](index_t block, int thread_idx) {
        const Range rows{block * kBlock, std::min((block + 1) * kBlock, scores.rows)};
        top_k_rows(scores, rows, renormalise, scratch.row(thread_idx), expert, weight);
    });
}

void gate_backward(const GateBackward& in, MatrixView<float> dlogits, const Context& context) {
    const MatrixView<const float> scores = in.scores;
    SY_REQUIRE(dlogits.rows == scores.rows && dlogits.cols == scores.cols && in.expert.rows == scores.rows &&
                   in.dweight.rows == scores.rows && in.dweight.cols == in.expert.cols,
               "gate_backward: scores [", scores.rows, ", ", scores.cols, "], dlogits [", dlogits.rows, ", ",
               dlogits.cols, "], choices [", in.expert.rows, ", ", in.expert.cols, "], weights [",
               in.dweight.rows, ", ", in.dweight.cols, "]");
    SY_REQUIRE((in.dscore.empty() || static_cast<index_t>(in.dscore.size()) == scores.cols) &&
                   (in.dlse.empty() || static_cast<index_t>(in.dlse.size()) == scores.rows),
               "gate_backward: ", in.dscore.size(), " score gradients for ", scores.cols, " experts, ",
               in.dlse.size(), " logsumexp gradients for ", scores.rows, " tokens");
    const Timed timed(context, OpKind::routing, 6.0 * static_cast<double>(scores.rows * scores.cols));
    context.team.for_ranges(scores.rows, 16, [&](index_t begin, index_t end) {
        backward_rows(in, {begin, end}, dlogits);
    });
}

}  // namespace sy::ops
