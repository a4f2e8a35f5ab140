#include "kernels/ops/permute/permute.hpp"

namespace sy::ops::ref {

void sum_rows(MatrixView<const float> x, std::span<const index_t> offsets,
              std::span<const std::int32_t> sources, Write write, MatrixView<float> out) {
    for (index_t r = 0; r < out.rows; ++r) {
        const auto first = static_cast<std::size_t>(offsets[static_cast<std::size_t>(r)]);
        const auto last = static_cast<std::size_t>(offsets[static_cast<std::size_t>(r) + 1]);
        for (index_t i = 0; i < out.cols; ++i) {
            double sum = write == Write::add ? static_cast<double>(out(r, i)) : 0.0;
            for (std::size_t s = first; s < last; ++s) sum += static_cast<double>(x(sources[s], i));
            out(r, i) = static_cast<float>(sum);
        }
    }
}

}  // namespace sy::ops::ref
