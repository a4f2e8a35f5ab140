#include "kernels/core/profile.hpp"
#include "kernels/core/simd.hpp"
#include "kernels/ops/cast/cast.hpp"

namespace sy::ops {
namespace {

template <class From, class To>
SY_INLINE void convert_row(const From* from, To* to, index_t count) {
    simd::for_lanes(
        count, [&](index_t i, auto load, auto store)
                   __attribute__((always_inline)) { store(to + i, load(from + i)); });
}
SY_MULTIVERSION void narrow_row(const float* from, bf16* to, index_t count) {
    convert_row(from, to, count);
}
SY_MULTIVERSION void widen_row(const bf16* from, float* to, index_t count) {
    convert_row(from, to, count);
}

/// Calls row(from, to, count) over the rows, or over pieces of all elements where these lie in one run, so that
/// a flat buffer keeps all threads busy.
template <class From, class To, class Row>
void convert(MatrixView<const From> from, MatrixView<To> to, const Context& context, const Row& row) {
    SY_REQUIRE(from.rows == to.rows && from.cols == to.cols, "cast: [", from.rows, ", ", from.cols, "] to [",
               to.rows, ", ", to.cols, "]");
    const Timed timed(context, OpKind::elementwise, static_cast<double>(from.rows * from.cols));
    if (from.is_contiguous() && to.is_contiguous()) {
        context.team.for_ranges(from.rows * from.cols, 4096, [&](index_t begin, index_t end) {
            row(from.data + begin, to.data + begin, end - begin);
        });
        return;
    }
    context.team.for_ranges(from.rows, 16, [&](index_t begin, index_t end) {
        for (index_t r = begin; r < end; ++r) row(from.row(r), to.row(r), from.cols);
    });
}

}  // namespace

void cast(MatrixView<const float> from, MatrixView<bf16> to, const Context& context) {
    convert(from, to, context, narrow_row);
}

void cast(MatrixView<const bf16> from, MatrixView<float> to, const Context& context) {
    convert(from, to, context, widen_row);
}

}  // namespace sy::ops
