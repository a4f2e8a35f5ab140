#include "kernels/ops/gate/gate.hpp"

#include "kernels/cuda/cuda_bodies.hpp"
#include "kernels/cuda/host_list.hpp"
#include "kernels/cuda/team.hpp"
#include "kernels/ops/gate/choice_hash.hpp"

namespace sy::ops {
namespace {

constexpr float kLowest = -__builtin_inff();

}  // namespace

void on_cuda::gate_scores(Score kind, ConstTensorRef logits, TensorRef scores, TensorRef lse,
                          const Context& context) {
    const auto logits_te = cuda::view<const float>(logits);
    const auto scores_te = cuda::view<float>(scores);
    float* const lse_t = cuda::values<float>(lse);
    const bool softmax = kind == Score::softmax;
    cuda::for_rows(
        context, logits_te.rows, logits_te.cols, [=] __device__(index_t t, const cuda::Team& team) {
            float highest = kLowest;
            for (index_t e = team.thread; e < logits_te.cols; e += team.size)
                highest = highest > logits_te(t, e) ? highest : logits_te(t, e);
            const float largest = team.largest(highest);
            float own = 0.0F;
            for (index_t e = team.thread; e < logits_te.cols; e += team.size)
                own += expf(logits_te(t, e) - largest);
            const float sum = team.sum(own);
            const float inverse = 1.0F / sum;
            for (index_t e = team.thread; e < logits_te.cols; e += team.size) {
                const float logit = logits_te(t, e);
                scores_te(t, e) = softmax ? expf(logit - largest) * inverse : 1.0F / (1.0F + expf(-logit));
            }
            if (team.thread == 0) lse_t[t] = largest + static_cast<float>(log(static_cast<double>(sum)));
        });
}

namespace {

/// No score has this key.
constexpr std::int64_t kNoKey = std::numeric_limits<std::int64_t>::min();

/// An integer that is in the order of the scores and, among equal scores, of descending experts: the upper half is
/// the float's bits made monotonic (0 and -0 equal, NaN beyond the infinities), the lower ~expert.
__device__ std::int64_t key_of(float score, index_t expert) {
    const std::int32_t bits = __float_as_int(score + 0.0F);
    const std::int32_t monotonic = bits ^ ((bits >> 31) & 0x7fffffff);
    return static_cast<std::int64_t>((static_cast<std::uint64_t>(monotonic) << 32) |
                                     (~static_cast<std::uint64_t>(expert) & 0xffffffffU));
}

}  // namespace

void on_cuda::gate_top_k(ConstTensorRef scores, TensorRef expert, const Context& context) {
    const auto scores_te = cuda::view<const float>(scores);
    const auto expert_tk = cuda::view<std::int32_t>(expert);
    cuda::for_rows(
        context, scores_te.rows, scores_te.cols, [=] __device__(index_t t, const cuda::Team& team) {
            // Keys are all different: each choice is the largest key below the one before.
            std::int64_t before = std::numeric_limits<std::int64_t>::max();
            for (index_t j = 0; j < expert_tk.cols; ++j) {
                std::int64_t own = kNoKey;
                for (index_t e = team.thread; e < scores_te.cols; e += team.size) {
                    const std::int64_t key = key_of(scores_te(t, e), e);
                    if (key < before && key > own) own = key;
                }
                before = team.largest(own);
                if (team.thread == 0)
                    expert_tk(t, j) = static_cast<std::int32_t>(~static_cast<std::uint32_t>(before));
            }
        });
}

namespace {

/// Sum of the highest `counted` of `size` scores, from the highest down; a NaN is not counted, but as the only one.
__device__ float group_score(const float* scores, index_t size, index_t counted) {
    if (counted == 1) {
        float best = scores[0];
        for (index_t e = 1; e < size; ++e) best = scores[e] > best ? scores[e] : best;
        return best;
    }
    float sum = 0.0F;
    float last = __builtin_inff();
    index_t last_idx = -1;
    for (index_t j = 0; j < counted; ++j) {
        // The highest that stands behind the one before, equal ones in the order of experts.
        float best = kLowest;
        index_t best_idx = size;
        for (index_t e = 0; e < size; ++e) {
            const bool is_behind = scores[e] < last || (scores[e] == last && e > last_idx);
            if (is_behind && (best_idx == size || scores[e] > best)) {
                best = scores[e];
                best_idx = e;
            }
        }
        sum += best;
        last = best;
        last_idx = best_idx;
    }
    return sum;
}

}  // namespace

void on_cuda::gate_limit_groups(ConstTensorRef scores, const GroupLimit& rule, TensorRef open,
                                const Context& context) {
    const auto scores_te = cuda::view<const float>(scores);
    const auto open_te = cuda::view<float>(open);
    const index_t size = scores_te.cols / rule.groups;
    const index_t counted = rule.counted;
    const index_t limit = rule.limit;
    Tensor memory(context.device, DType::f32, {scores_te.rows, rule.groups});
    const auto group_tg = cuda::view<float>(memory.ref());
    cuda::for_matrix(context, group_tg.rows, group_tg.cols, [=] __device__(index_t t, index_t g) {
        group_tg(t, g) = group_score(scores_te.row(t) + g * size, size, counted);
    });
    cuda::for_matrix(context, scores_te.rows, scores_te.cols, [=] __device__(index_t t, index_t e) {
        // A group stays open when fewer than `limit` groups stand before it; a NaN stands before none.
        const index_t g = e / size;
        const float own = group_tg(t, g);
        index_t before = 0;
        for (index_t other = 0; other < group_tg.cols; ++other) {
            const float score = group_tg(t, other);
            before += score > own || (score == own && other < g) ? 1 : 0;
        }
        open_te(t, e) = before < limit ? scores_te(t, e) : kLowest;
    });
}

void on_cuda::gate_weights(const GateWeights& in, TensorRef weight, const Context& context) {
    const auto scores_te = cuda::view<const float>(in.scores);
    const auto expert_tk = cuda::view<const std::int32_t>(in.expert);
    const auto weight_tk = cuda::view<float>(weight);
    const bool renormalised = in.renormalise == Renormalise::yes;
    const float scale = in.scale;
    cuda::for_elements(context, weight_tk.rows, [=] __device__(index_t t) {
        float sum = 0.0F;
        for (index_t j = 0; j < weight_tk.cols; ++j) {
            const std::int32_t e = expert_tk(t, j);
            const float score = e < 0 ? 0.0F : scores_te.data == nullptr ? 1.0F : scores_te(t, e);
            weight_tk(t, j) = score;
            sum += score;
        }
        for (index_t j = 0; j < weight_tk.cols; ++j) {
            const float share = renormalised ? weight_tk(t, j) / (sum + kLeastScoreSum) : weight_tk(t, j);
            weight_tk(t, j) = share * scale;
        }
    });
}

void on_cuda::gate_draw_second(ConstTensorRef expert, ConstTensorRef weight, const SecondDraw& rule,
                               TensorRef sent, const Context& context) {
    const auto expert_tk = cuda::view<const std::int32_t>(expert);
    const auto weight_tk = cuda::view<const float>(weight);
    const auto sent_tk = cuda::view<std::int32_t>(sent);
    const SecondDraw draw = rule;
    cuda::for_elements(context, expert_tk.rows, [=] __device__(index_t t) {
        const double chance = 2.0 * static_cast<double>(weight_tk(t, 1)) / draw.scale;
        const auto u =
            static_cast<double>(uniform(draw.key, static_cast<std::uint64_t>(draw.first_token + t)));
        sent_tk(t, 0) = expert_tk(t, 0);
        sent_tk(t, 1) = u < chance ? expert_tk(t, 1) : -1;
    });
}

void on_cuda::routing_hash(ConstTensorRef expert, std::span<const std::uint8_t> kept, index_t layer,
                           index_t first_token, TensorRef hash, const Context& context) {
    const cuda::HostList<std::uint8_t> list(kept, context);
    const std::uint8_t* const kept_tk = list.data();
    const auto expert_tk = cuda::view<const std::int32_t>(expert);
    // Unsigned, as atomicAdd has it: sums are modulo 2^64.
    auto* const total = reinterpret_cast<unsigned long long*>(cuda::values<std::int64_t>(hash));
    SY_CUDA(cudaMemsetAsync(total, 0, sizeof(*total), cuda::stream_of(context)));
    constexpr index_t kTokensOfTeam = 256;
    const index_t num_parts = ceil_div(expert_tk.rows, kTokensOfTeam);
    cuda::for_rows(context, num_parts, kTokensOfTeam, [=] __device__(index_t part, const cuda::Team& team) {
        const index_t end =
            (part + 1) * kTokensOfTeam < expert_tk.rows ? (part + 1) * kTokensOfTeam : expert_tk.rows;
        unsigned long long own = 0;
        for (index_t t = part * kTokensOfTeam + team.thread; t < end; t += team.size) {
            for (index_t j = 0; j < expert_tk.cols; ++j) {
                if (expert_tk(t, j) < 0) continue;
                own += detail::hash_choice(
                    static_cast<std::uint64_t>(layer), static_cast<std::uint64_t>(first_token + t),
                    static_cast<std::uint64_t>(j), expert_tk(t, j), kept_tk[t * expert_tk.cols + j]);
            }
        }
        own = team.sum(own);
        if (team.thread == 0) atomicAdd(total, own);
    });
}

}  // namespace sy::ops
