#pragma once

#include <cstdint>
#include <span>

#include "kernels/core/host_view.hpp"
#include "kernels/ops/gate/gate.hpp"

namespace sy::ops::detail {

/// The elements of GateWeights.
struct WeightOperands {
    MatrixView<const float> scores;
    MatrixView<const std::int32_t> expert;
    bool renormalised;
    float scale;

    explicit WeightOperands(const GateWeights& in)
        : scores(host<const float>(in.scores)),
          expert(host<const std::int32_t>(in.expert)),
          renormalised(in.renormalise == Renormalise::yes),
          scale(in.scale) {}
};

/// The elements of GateBackward.
struct BackwardOperands {
    Score kind;
    WeightOperands forward;
    MatrixView<const float> logits;
    std::span<const float> lse;
    MatrixView<const float> dweight;
    std::span<const float> dshare;
    MatrixView<const float> token_dshare;
    std::span<const float> dlse;
    MatrixView<const float> dlogit;

    explicit BackwardOperands(const GateBackward& in)
        : kind(in.kind),
          forward(in.forward),
          logits(host<const float>(in.logits)),
          lse(host_values<const float>(in.lse)),
          dweight(host<const float>(in.dweight)),
          dshare(in.dshare),
          token_dshare(host<const float>(in.token_dshare)),
          dlse(host_values<const float>(in.dlse)),
          dlogit(host<const float>(in.dlogit)) {}
};

}  // namespace sy::ops::detail
