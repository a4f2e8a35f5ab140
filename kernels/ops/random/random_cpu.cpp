#include "kernels/ops/random/random.hpp"

namespace sy::ops {

void fill_normal(const RandomKey& key, index_t first, float deviation, std::span<float> values,
                 const Context& context) {
    context.team.for_ranges(static_cast<index_t>(values.size()), 1024, [&](index_t begin, index_t end) {
        for (index_t i = begin; i < end; ++i) {
            values[static_cast<std::size_t>(i)] =
                deviation * normal(key, static_cast<std::uint64_t>(first + i));
        }
    });
}

void jitter(MatrixView<const float> x, const RandomKey& key, index_t first_token, float eps,
            MatrixView<float> y, const Context& context) {
    SY_REQUIRE(x.rows == y.rows && x.cols == y.cols, "jitter: [", x.rows, ", ", x.cols, "] into [", y.rows,
               ", ", y.cols, "]");
    context.team.for_ranges(x.rows, 8, [&](index_t begin, index_t end) {
        for (index_t t = begin; t < end; ++t) {
            for (index_t i = 0; i < x.cols; ++i) {
                const auto counter = static_cast<std::uint64_t>((first_token + t) * x.cols + i);
                y(t, i) = x(t, i) * (1.0F + eps * (2.0F * uniform(key, counter) - 1.0F));
            }
        }
    });
}

}  // namespace sy::ops
