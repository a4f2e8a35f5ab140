#pragma once

#include <cstdint>

#include "kernels/core/host_view.hpp"
#include "kernels/ops/balance/balance.hpp"

namespace sy::ops::detail {

/// The share that a score of 1 would have in its row.
double share_of_one(Score kind, MatrixView<const float> scores, index_t token);

/// The elements of Chances.
struct ChanceOperands {
    MatrixView<const float> logits;
    MatrixView<const float> clean;
    MatrixView<const float> scale;
    MatrixView<const std::int32_t> best;

    explicit ChanceOperands(const Chances& in)
        : logits(host<const float>(in.logits)),
          clean(host<const float>(in.clean)),
          scale(host<const float>(in.scale)),
          best(host<const std::int32_t>(in.best)) {}
};

}  // namespace sy::ops::detail
