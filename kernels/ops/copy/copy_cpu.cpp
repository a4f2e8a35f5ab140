#include <algorithm>

#include "kernels/core/profile.hpp"
#include "kernels/ops/copy/copy.hpp"

namespace sy::ops {

void copy(MatrixView<const float> x, MatrixView<float> y, const Context& context) {
    if (x.rows != y.rows || x.cols != y.cols) {
        throw ShapeError(concat("copy: [", x.rows, ", ", x.cols, "] into [", y.rows, ", ", y.cols, "]"));
    }
    const Timed timed(context, OpKind::elementwise, 0.0);
    context.team.for_ranges(x.rows, 16, [&](index_t begin, index_t end) {
        for (index_t t = begin; t < end; ++t) std::copy_n(x.row(t), x.cols, y.row(t));
    });
}

void fill(float value, std::span<float> values, const Context& context) {
    const Timed timed(context, OpKind::elementwise, 0.0);
    context.team.for_ranges(static_cast<index_t>(values.size()), 4096, [&](index_t begin, index_t end) {
        std::fill(values.begin() + begin, values.begin() + end, value);
    });
}

void fill(float value, MatrixView<float> values, const Context& context) {
    const Timed timed(context, OpKind::elementwise, 0.0);
    context.team.for_ranges(values.rows, 16, [&](index_t begin, index_t end) {
        for (index_t t = begin; t < end; ++t) std::fill_n(values.row(t), values.cols, value);
    });
}

}  // namespace sy::ops
