#include <cmath>

#include "kernels/core/host_view.hpp"
#include "kernels/ops/sinkhorn/sinkhorn.hpp"

namespace sy::ops::ref {

void sinkhorn_columns(MatrixView<const float> logits, std::span<const double> factor,
                      std::span<double> sums) {
    for (double& sum : sums) sum = 0.0;
    for (index_t t = 0; t < logits.rows; ++t) {
        double total = 0.0;
        for (std::size_t e = 0; e < sums.size(); ++e)
            total += factor[e] * std::exp(static_cast<double>(logits.row_span(t)[e]));
        for (std::size_t e = 0; e < sums.size(); ++e)
            sums[e] += factor[e] * std::exp(static_cast<double>(logits.row_span(t)[e])) / total;
    }
}

}  // namespace sy::ops::ref
