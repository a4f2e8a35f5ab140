#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/core/profile.hpp"
#include "kernels/core/simd.hpp"
#include "kernels/core/fits.hpp"
#include "kernels/core/tensor.hpp"
#include "kernels/core/host_view.hpp"
#include "kernels/ops/gate/gate.hpp"
#include "kernels/ops/gate/operands.hpp"
#include "kernels/ops/cpu_bodies.hpp"
#include "kernels/ops/cpu_device.hpp"

namespace sy::ops {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

/// What softmax and logsumexp of a row have in common: its largest logit and the sum of e^(logit - largest).
struct RowSum {
    float largest;
    float sum;
    float lse() const { return largest + static_cast<float>(std::log(static_cast<double>(sum))); }
};

/// @param powers  receives e^(logit - largest); may be the logits
SY_INLINE RowSum powers_of_row(const float* logits, index_t count, float* powers) {
    const index_t whole = count - count % simd::kLanes;
    const index_t rest = count - whole;
    simd::f32x16 highest = simd::splat(-kInfinity);
    for (index_t i = 0; i < whole; i += simd::kLanes) highest = simd::max(highest, simd::load(logits + i));
    if (rest > 0) highest = simd::max(highest, simd::load_part(logits + whole, rest, -kInfinity));
    const float largest = simd::max_lane(highest);
    simd::f32x16 sums{};
    for (index_t i = 0; i < whole; i += simd::kLanes) {
        const simd::f32x16 power = simd::exp(simd::load(logits + i) - largest);
        simd::store(powers + i, power);
        sums += power;
    }
    if (rest > 0) {
        const simd::f32x16 power = simd::exp(simd::load_part(logits + whole, rest, -kInfinity) - largest);
        simd::store_part(powers + whole, power, rest);
        sums += power;
    }
    return {largest, simd::sum(sums)};
}

void softmax_rows(MatrixView<const float> logits, Range rows, MatrixView<float> scores, float* lse) {
    simd::for_isa([=]() SY_BODY {
        for (index_t t = rows.begin; t < rows.end; ++t) {
            float* const row = scores.data + t * scores.stride;
            const RowSum total = powers_of_row(logits.data + t * logits.stride, logits.cols, row);
            const float inverse = 1.0F / total.sum;
            for (index_t e = 0; e < logits.cols; ++e) row[e] *= inverse;
            lse[t] = total.lse();
        }
    });
}

/// @param powers  [E] scratch, so that scores may be the logits
void sigmoid_rows(MatrixView<const float> logits, Range rows, MatrixView<float> scores, float* powers,
                  float* lse) {
    simd::for_isa([=]() SY_BODY {
        for (index_t t = rows.begin; t < rows.end; ++t) {
            const float* const from = logits.data + t * logits.stride;
            float* const to = scores.data + t * scores.stride;
            lse[t] = powers_of_row(from, logits.cols, powers).lse();
            simd::for_lanes(logits.cols, [&](index_t i, auto load, auto store)
                                             SY_BODY { store(to + i, simd::sigmoid(load(from + i))); });
        }
    });
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
void top_k_rows(MatrixView<const float> scores, Range rows, std::int64_t* keys,
                MatrixView<std::int32_t> expert) {
    simd::for_isa([=]() SY_BODY {
        for (index_t t = rows.begin; t < rows.end; ++t) {
            std::int32_t* const chosen = expert.data + t * expert.stride;
            make_keys(scores.data + t * scores.stride, scores.cols, keys);
            for (index_t j = 0; j < expert.cols; ++j) {
                const std::int64_t best = largest_key(keys, scores.cols);
                const auto e = static_cast<std::int32_t>(~static_cast<std::uint32_t>(best));
                keys[e] = kTaken;
                chosen[j] = e;
            }
        }
    });
}

void weight_rows(const detail::WeightOperands& in, Range rows, MatrixView<float> weight) {
    for (index_t t = rows.begin; t < rows.end; ++t) {
        const float* const scores = in.scores.data == nullptr ? nullptr : in.scores.row(t);
        const std::int32_t* const chosen = in.expert.data + t * in.expert.stride;
        float* const target = weight.data + t * weight.stride;
        float sum = 0.0F;
        for (index_t j = 0; j < weight.cols; ++j) {
            const float score = scores == nullptr ? 1.0F : scores[std::max(chosen[j], 0)];
            target[j] = chosen[j] < 0 ? 0.0F : score;
            sum += target[j];
        }
        for (index_t j = 0; j < weight.cols; ++j) {
            if (in.renormalised) target[j] /= sum + kLeastScoreSum;
            target[j] *= in.scale;
        }
    }
}

/// What the gradient through one token's weights needs of all its choices together.
struct ThroughWeights {
    float sum = 0.0F;
    float dot = 0.0F;
    float divisor() const { return sum + kLeastScoreSum; }
    ThroughWeights(const detail::BackwardOperands& in, index_t t) {
        if (in.dweight.data == nullptr) return;
        for (index_t j = 0; j < in.forward.expert.cols; ++j) {
            const std::int32_t e = in.forward.expert(t, j);
            if (e < 0) continue;
            const float score = in.forward.scores(t, e);
            sum += score;
            dot += score * in.dweight(t, j);
        }
    }
};

/// Gradient of the shares of one token, which does not come through the weights. Broadcast and own parts, either empty.
template <class Load>
SY_INLINE simd::f32x16 direct_gradient(const float* dshare, const float* own, index_t i, Load load) {
    simd::f32x16 direct{};
    if (dshare != nullptr) direct += load(dshare + i);
    if (own != nullptr) direct += load(own + i);
    return direct;
}

/// dlogits = score * (dscore + dlse - sum of score * dscore), where dscore is the direct part plus, at the chosen
/// experts, the gradient through renormalisation (whose products with the scores add up to 0 but for kLeastScoreSum).
void softmax_backward_rows(const detail::BackwardOperands& in, Range rows, MatrixView<float> dlogits) {
    simd::for_isa([=, &in]() SY_BODY {
        const index_t num_experts = in.forward.scores.cols;
        const bool renormalised = in.forward.renormalised;
        for (index_t t = rows.begin; t < rows.end; ++t) {
            const float* const scores = in.forward.scores.data + t * in.forward.scores.stride;
            const float* const own =
                in.token_dshare.data == nullptr ? nullptr : in.token_dshare.data + t * in.token_dshare.stride;
            const float* const dshare = in.dshare.data();
            float* const row = dlogits.data + t * dlogits.stride;
            const ThroughWeights weights(in, t);
            float inner = in.forward.scale * weights.dot;
            if (renormalised) inner = inner / weights.divisor() * (1.0F - weights.sum / weights.divisor());
            if (dshare != nullptr || own != nullptr) {
                simd::f32x16 products{};
                simd::for_lanes(num_experts, [&](index_t i, auto load, auto) SY_BODY {
                    products += load(scores + i) * direct_gradient(dshare, own, i, load);
                });
                inner += simd::sum(products);
            }
            const float shift = (in.dlse.empty() ? 0.0F : in.dlse[static_cast<std::size_t>(t)]) - inner;
            simd::for_lanes(num_experts, [&](index_t i, auto load, auto store) SY_BODY {
                store(row + i, load(scores + i) * (direct_gradient(dshare, own, i, load) + shift));
            });
            if (in.dweight.data == nullptr) continue;
            for (index_t j = 0; j < in.forward.expert.cols; ++j) {
                const std::int32_t e = in.forward.expert(t, j);
                if (e < 0) continue;
                const float dweight = in.forward.scale * in.dweight(t, j);
                row[e] += scores[e] * (renormalised
                                           ? (dweight - in.forward.scale * weights.dot / weights.divisor()) /
                                                 weights.divisor()
                                           : dweight);
            }
        }
    });
}

/// From gradients of shares to those of scores: (direct - mean) * inverse, inverse = 1 / (sum of the row's scores),
/// mean = sum of share * direct. Both are 0 where no share has a gradient.
struct ThroughShares {
    float inverse = 0.0F;
    float mean = 0.0F;
};
SY_INLINE ThroughShares through_shares(const float* scores, index_t count, const float* dshare,
                                       const float* own) {
    if (dshare == nullptr && own == nullptr) return {};
    simd::f32x16 sums{};
    simd::f32x16 products{};
    simd::for_lanes(count, [&](index_t i, auto load, auto) SY_BODY {
        sums += load(scores + i);
        products += load(scores + i) * direct_gradient(dshare, own, i, load);
    });
    const float inverse = 1.0F / (simd::sum(sums) + kLeastScoreSum);
    return {inverse, simd::sum(products) * inverse};
}

/// dlogits = score * (1 - score) * dscore, plus dlse times the softmax of the logits.
void sigmoid_backward_rows(const detail::BackwardOperands& in, Range rows, MatrixView<float> dlogits) {
    simd::for_isa([=, &in]() SY_BODY {
        const bool renormalised = in.forward.renormalised;
        for (index_t t = rows.begin; t < rows.end; ++t) {
            const float* const scores = in.forward.scores.data + t * in.forward.scores.stride;
            const float* const own =
                in.token_dshare.data == nullptr ? nullptr : in.token_dshare.data + t * in.token_dshare.stride;
            const float* const dshare = in.dshare.data();
            const float* const logits = in.dlse.empty() ? nullptr : in.logits.data + t * in.logits.stride;
            const float lse = in.dlse.empty() ? 0.0F : in.lse[static_cast<std::size_t>(t)];
            const float dlse = in.dlse.empty() ? 0.0F : in.dlse[static_cast<std::size_t>(t)];
            float* const row = dlogits.data + t * dlogits.stride;
            const ThroughShares shares = through_shares(scores, in.forward.scores.cols, dshare, own);
            simd::for_lanes(in.forward.scores.cols, [&](index_t i, auto load, auto store) SY_BODY {
                const simd::f32x16 score = load(scores + i);
                const simd::f32x16 dscore =
                    (direct_gradient(dshare, own, i, load) - shares.mean) * shares.inverse;
                simd::f32x16 result = score * (1.0F - score) * dscore;
                if (logits != nullptr) result += dlse * simd::exp(load(logits + i) - lse);
                store(row + i, result);
            });
            if (in.dweight.data == nullptr) continue;
            const ThroughWeights weights(in, t);
            for (index_t j = 0; j < in.forward.expert.cols; ++j) {
                const std::int32_t e = in.forward.expert(t, j);
                if (e < 0) continue;
                const float dweight = in.forward.scale * in.dweight(t, j);
                const float direct =
                    renormalised
                        ? (dweight - in.forward.scale * weights.dot / weights.divisor()) / weights.divisor()
                        : dweight;
                row[e] += scores[e] * (1.0F - scores[e]) * direct;
            }
        }
    });
}

}  // namespace

void on_cpu::gate_scores(Score kind, ConstTensorRef logits, TensorRef scores, TensorRef lse,
                         const Context& context) {
    const auto logits_te = host<const float>(logits);
    const auto scores_te = host<float>(scores);
    const auto lse_t = host_values<float>(lse);
    if (kind == Score::softmax) {
        cpu(context).team().for_ranges(logits_te.rows, 16, [&](index_t begin, index_t end) {
            softmax_rows(logits_te, {begin, end}, scores_te, lse_t.data());
        });
        return;
    }
    constexpr index_t kBlock = 64;
    Tensor powers(context.device, DType::f32,
                  {context.device.num_threads(), round_up(logits_te.cols, simd::kLanes)});
    const auto scratch = host<float>(powers);
    cpu(context).team().for_tasks(ceil_div(logits_te.rows, kBlock), [&](index_t block, int thread_idx) {
        const Range rows{block * kBlock, std::min((block + 1) * kBlock, logits_te.rows)};
        sigmoid_rows(logits_te, rows, scores_te, scratch.row(thread_idx), lse_t.data());
    });
}

void on_cpu::gate_top_k(ConstTensorRef scores, TensorRef expert, const Context& context) {
    const auto scores_te = host<const float>(scores);
    const auto expert_tk = host<std::int32_t>(expert);
    constexpr index_t kBlock = 64;
    Tensor keys(context.device, DType::i64,
                {context.device.num_threads(), round_up(scores_te.cols, kKeyStep)});
    const auto scratch = host<std::int64_t>(keys);
    cpu(context).team().for_tasks(ceil_div(scores_te.rows, kBlock), [&](index_t block, int thread_idx) {
        const Range rows{block * kBlock, std::min((block + 1) * kBlock, scores_te.rows)};
        top_k_rows(scores_te, rows, scratch.row(thread_idx), expert_tk);
    });
}

void on_cpu::gate_weights(const GateWeights& in, TensorRef weight, const Context& context) {
    const detail::WeightOperands operands(in);
    const auto weight_tk = host<float>(weight);
    cpu(context).team().for_ranges(weight_tk.rows, 64, [&](index_t begin, index_t end) {
        weight_rows(operands, {begin, end}, weight_tk);
    });
}

void on_cpu::gate_backward(const GateBackward& in, TensorRef dlogits, const Context& context) {
    const detail::BackwardOperands operands(in);
    const auto dlogits_te = host<float>(dlogits);
    const index_t tokens = operands.forward.scores.rows;
    const index_t experts = operands.forward.scores.cols;
    cpu(context).team().for_ranges(tokens, 16, [&](index_t begin, index_t end) {
        const Range rows{begin, end};
        if (operands.kind == Score::softmax) {
            softmax_backward_rows(operands, rows, dlogits_te);
        } else {
            sigmoid_backward_rows(operands, rows, dlogits_te);
        }
        if (operands.dlogit.data == nullptr) return;
        for (index_t t = begin; t < end; ++t) {
            for (index_t e = 0; e < experts; ++e) dlogits_te(t, e) += operands.dlogit(t, e);
        }
    });
}

}  // namespace sy::ops
