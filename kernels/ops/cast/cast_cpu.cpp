#include "kernels/core/host_view.hpp"
#include "kernels/core/simd.hpp"
#include "kernels/ops/cast/cast.hpp"
#include "kernels/ops/cpu_bodies.hpp"
#include "kernels/ops/cpu_device.hpp"

namespace sy::ops {
namespace {

template <class From, class To>
void convert_row(const From* from, To* to, index_t count) {
    simd::for_isa([=]() SY_BODY {
        simd::for_lanes(count,
                        [&](index_t i, auto load, auto store) SY_BODY { store(to + i, load(from + i)); });
    });
}

/// Row by row, or piece by piece where all elements lie in one run, so that a flat buffer keeps all threads busy.
template <class From, class To>
void convert(MatrixView<const From> from, MatrixView<To> to, const Context& context) {
    if (from.is_contiguous() && to.is_contiguous()) {
        cpu(context).team().for_ranges(from.rows * from.cols, 4096, [&](index_t begin, index_t end) {
            convert_row(from.data + begin, to.data + begin, end - begin);
        });
        return;
    }
    cpu(context).team().for_ranges(from.rows, 16, [&](index_t begin, index_t end) {
        for (index_t r = begin; r < end; ++r) convert_row(from.row(r), to.row(r), from.cols);
    });
}

}  // namespace

void on_cpu::cast(ConstTensorRef from, TensorRef to, const Context& context) {
    if (from.dtype() == DType::f32)
        convert(host<const float>(from), host<bf16>(to), context);
    else
        convert(host<const bf16>(from), host<float>(to), context);
}

}  // namespace sy::ops
