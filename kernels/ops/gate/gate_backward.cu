#include "kernels/ops/gate/gate.hpp"

#include "kernels/cuda/cuda_bodies.hpp"
#include "kernels/cuda/host_list.hpp"
#include "kernels/cuda/team.hpp"

namespace sy::ops {
namespace {

/// The elements of GateBackward.
struct GateOperands {
    cuda::Matrix<const float> scores;
    cuda::Matrix<const std::int32_t> expert;
    bool renormalised;
    float scale;
    cuda::Matrix<const float> logits;
    const float* lse;
    cuda::Matrix<const float> dweight;
    const float* dshare;
    cuda::Matrix<const float> token_dshare;
    const float* dlse;
    cuda::Matrix<const float> dlogit;
    cuda::Matrix<float> dlogits;

    /// Gradient of the share of a score, which does not come through the weights.
    __device__ float direct(index_t t, index_t e) const {
        float sum = 0.0F;
        if (dshare != nullptr) sum += dshare[e];
        if (token_dshare.data != nullptr) sum += token_dshare(t, e);
        return sum;
    }
    __device__ bool has_direct() const { return dshare != nullptr || token_dshare.data != nullptr; }
};

/// What the gradient through one token's weights needs of all its choices together.
struct ThroughWeights {
    float sum = 0.0F;
    float dot = 0.0F;

    __device__ float divisor() const { return sum + kLeastScoreSum; }
    __device__ ThroughWeights(const GateOperands& in, index_t t) {
        if (in.dweight.data == nullptr) return;
        for (index_t j = 0; j < in.expert.cols; ++j) {
            const std::int32_t e = in.expert(t, j);
            if (e < 0) continue;
            sum += in.scores(t, e);
            dot += in.scores(t, e) * in.dweight(t, j);
        }
    }
    /// Gradient of the score by which a token has chosen an expert.
    __device__ float of_score(const GateOperands& in, index_t t, index_t e) const {
        float gradient = 0.0F;
        for (index_t j = 0; in.dweight.data != nullptr && j < in.expert.cols; ++j) {
            if (in.expert(t, j) != e) continue;
            const float dweight = in.scale * in.dweight(t, j);
            gradient += in.renormalised ? (dweight - in.scale * dot / divisor()) / divisor() : dweight;
        }
        return gradient;
    }
};

/// dlogits = score * (dscore + dlse - sum of score * dscore), where dscore is the direct part plus, at the chosen
/// experts, the gradient through renormalisation (whose products with the scores add up to 0 but for kLeastScoreSum).
__device__ void softmax_row(const GateOperands& in, index_t t, const cuda::Team& team) {
    const ThroughWeights weights(in, t);
    float inner = in.scale * weights.dot;
    if (in.renormalised) inner = inner / weights.divisor() * (1.0F - weights.sum / weights.divisor());
    if (in.has_direct()) {
        float products = 0.0F;
        for (index_t e = team.thread; e < in.scores.cols; e += team.size)
            products += in.scores(t, e) * in.direct(t, e);
        inner += team.sum(products);
    }
    const float shift = (in.dlse == nullptr ? 0.0F : in.dlse[t]) - inner;
    for (index_t e = team.thread; e < in.scores.cols; e += team.size) {
        const float score = in.scores(t, e);
        const float gradient = score * (in.direct(t, e) + shift) + score * weights.of_score(in, t, e);
        in.dlogits(t, e) = in.dlogit.data == nullptr ? gradient : gradient + in.dlogit(t, e);
    }
}

/// dlogits = score * (1 - score) * dscore, plus dlse times the softmax of the logits. Gradients of shares become those of
/// scores as (direct - mean) / (sum of the row's scores), mean = sum of share * direct.
__device__ void sigmoid_row(const GateOperands& in, index_t t, const cuda::Team& team) {
    const ThroughWeights weights(in, t);
    float inverse = 0.0F;
    float mean = 0.0F;
    if (in.has_direct()) {
        float sums = 0.0F;
        float products = 0.0F;
        for (index_t e = team.thread; e < in.scores.cols; e += team.size) {
            sums += in.scores(t, e);
            products += in.scores(t, e) * in.direct(t, e);
        }
        inverse = 1.0F / (team.sum(sums) + kLeastScoreSum);
        mean = team.sum(products) * inverse;
    }
    for (index_t e = team.thread; e < in.scores.cols; e += team.size) {
        const float score = in.scores(t, e);
        const float slope = score * (1.0F - score);
        float gradient = slope * ((in.direct(t, e) - mean) * inverse);
        if (in.dlse != nullptr) gradient += in.dlse[t] * expf(in.logits(t, e) - in.lse[t]);
        gradient += slope * weights.of_score(in, t, e);
        in.dlogits(t, e) = in.dlogit.data == nullptr ? gradient : gradient + in.dlogit(t, e);
    }
}

}  // namespace

void on_cuda::gate_backward(const GateBackward& in, TensorRef dlogits, const Context& context) {
    const cuda::HostList<float> dshare(in.dshare, context);
    const GateOperands operands{
        cuda::view<const float>(in.forward.scores), cuda::view<const std::int32_t>(in.forward.expert),
        in.forward.renormalise == Renormalise::yes, in.forward.scale,
        cuda::view<const float>(in.logits),         cuda::values<const float>(in.lse),
        cuda::view<const float>(in.dweight),        dshare.data(),
        cuda::view<const float>(in.token_dshare),   cuda::values<const float>(in.dlse),
        cuda::view<const float>(in.dlogit),         cuda::view<float>(dlogits)};
    const bool softmax = in.kind == Score::softmax;
    cuda::for_rows(context, operands.scores.rows, operands.scores.cols,
                   [=] __device__(index_t t, const cuda::Team& team) {
                       if (softmax) {
                           softmax_row(operands, t, team);
                       } else {
                           sigmoid_row(operands, t, team);
                       }
                   });
}

}  // namespace sy::ops
