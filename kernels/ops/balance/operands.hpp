#pragma once

#include <cstdint>

#include "kernels/core/host_view.hpp"
#include "kernels/ops/balance/balance.hpp"

namespace sy::ops::detail {

/// The share that a score of 1 would have in its row.
double share_of_one(Score kind, MatrixView<const float> scores, index_t token);

/// words += sums. @param words  [G, 4] i64 of the host
void add_to_words(std::span<const ExactSum> sums, TensorRef words);

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
