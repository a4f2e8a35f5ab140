#include "kernels/ops/softmax_xent/softmax_xent.hpp"

#include "kernels/cuda/cuda_bodies.hpp"
#include "kernels/cuda/host_list.hpp"
#include "kernels/cuda/lanes.hpp"
#include "kernels/cuda/team.hpp"

namespace sy::ops {
namespace {

struct Rows {
    cuda::Matrix<float> logits;
    const std::int32_t* target;
    float scale;
    float z_scale;
    float* loss;
    float* lse;  ///< null: not wanted
    bool wide;
};

/// Neighbouring logits of a thread: sixteen bytes.
using cuda::kLanes;

/// Calls body(v, logits from v on) for the columns of a thread, in ascending order.
template <class Body>
__device__ void for_own(const Rows& op, index_t t, const cuda::Team& team, const Body& body) {
    const index_t count = op.logits.cols;
    for (index_t v = index_t{team.thread} * kLanes; v < count; v += index_t{team.size} * kLanes)
        body(v, cuda::load<kLanes>(op.logits.row(t), v, count, op.wide));
}

/// A row that does not count.
__device__ void clear_row(const Rows& op, index_t t, const cuda::Team& team) {
    if (team.thread == 0) {
        op.loss[t] = 0.0F;
        if (op.lse != nullptr) op.lse[t] = 0.0F;
    }
    if (op.scale == 0.0F) return;
    for_own(op, t, team, [&](index_t v, const auto&) {
        cuda::store<kLanes>(op.logits.row(t), v, op.logits.cols, op.wide, cuda::Lanes<float, kLanes>{});
    });
}

/// A row that counts: its loss; the row becomes its gradient when scale is not 0.
__device__ void xent_row(const Rows& op, index_t t, const cuda::Team& team) {
    float* const row = op.logits.row(t);
    const index_t count = op.logits.cols;
    const std::int32_t target = op.target[t];
    float highest = -__builtin_inff();
    for_own(op, t, team, [&](index_t v, const auto& logits) {
#pragma unroll
        for (int lane = 0; lane < kLanes; ++lane) {
            if (v + lane < count) highest = highest > logits[lane] ? highest : logits[lane];
        }
    });
    const float largest = team.largest(highest);
    // Differences first: logits far from 0 would swallow the logarithm.
    const float distance = largest - row[target];
    float own = 0.0F;
    for_own(op, t, team, [&](index_t v, const auto& logits) {
#pragma unroll
        for (int lane = 0; lane < kLanes; ++lane) {
            if (v + lane < count) own += expf(logits[lane] - largest);
        }
    });
    const float denominator = team.sum(own);
    const double log_denominator = log(static_cast<double>(denominator));
    const auto lse = static_cast<float>(static_cast<double>(largest) + log_denominator);
    if (team.thread == 0) {
        op.loss[t] = distance + static_cast<float>(log_denominator);
        if (op.lse != nullptr) op.lse[t] = lse;
    }
    if (op.scale == 0.0F) return;
    const float weight = op.z_scale == 0.0F ? op.scale : op.scale + 2.0F * op.z_scale * lse;
    const float factor = weight / denominator;
    team.wait();  // all have read the target's logit
    for_own(op, t, team, [&](index_t v, const auto& logits) {
        cuda::Lanes<float, kLanes> gradient;
#pragma unroll
        for (int lane = 0; lane < kLanes; ++lane) {
            gradient[lane] = expf(logits[lane] - largest) * factor;
            if (v + lane == target) gradient[lane] -= op.scale;
        }
        cuda::store<kLanes>(row, v, count, op.wide, gradient);
    });
}

}  // namespace

void on_cuda::softmax_xent(TensorRef rows, std::span<const std::int32_t> target, float scale,
                           TensorRef losses, const OutputZLoss& z, const Context& context) {
    const cuda::HostList<std::int32_t> targets(target, context);
    const Rows op{cuda::view<float>(rows),
                  targets.data(),
                  scale,
                  z.scale,
                  cuda::values<float>(losses),
                  cuda::values<float>(z.lse),
                  cuda::are_wide<kLanes>({rows})};
    cuda::for_rows(context, op.logits.rows, op.logits.cols,
                   [=] __device__(index_t t, const cuda::Team& team) {
                       if (op.target[t] < 0) {
                           clear_row(op, t, team);
                       } else {
                           xent_row(op, t, team);
                       }
                   });
}

}  // namespace sy::ops
