#include "kernels/ops/permute/permute.hpp"

#include "kernels/core/offsets.hpp"

namespace sy::ops::ref {

void sum_rows(MatrixView<const float> x, std::span<const index_t> offsets,
              std::span<const std::int32_t> sources, Write write, MatrixView<float> out) {
    for (index_t r = 0; r < out.rows; ++r) {
        const std::span<const std::int32_t> of_row = part(sources, group_of(offsets, r));
        for (index_t i = 0; i < out.cols; ++i) {
            double sum = write == Write::add ? static_cast<double>(out(r, i)) : 0.0;
            for (const std::int32_t source : of_row) sum += static_cast<double>(x(source, i));
            out(r, i) = static_cast<float>(sum);
        }
    }
}

}  // namespace sy::ops::ref
