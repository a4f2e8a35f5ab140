#include <algorithm>
#include <cstring>

#include "kernels/core/profile.hpp"
#include "kernels/ops/copy/copy.hpp"
#include "kernels/ops/cpu_bodies.hpp"
#include "kernels/ops/cpu_device.hpp"

namespace sy::ops {

void on_cpu::copy(ConstTensorRef from, TensorRef to, const Context& context) {
    const auto x = host<const float>(from);
    const auto y = host<float>(to);
    cpu(context).team().for_ranges(x.rows, 16, [&](index_t begin, index_t end) {
        for (index_t t = begin; t < end; ++t) std::copy_n(x.row(t), x.cols, y.row(t));
    });
}

void on_cpu::fill(float value, TensorRef values, const Context& context) {
    const auto y = host<float>(values);
    if (y.is_contiguous()) {
        cpu(context).team().for_ranges(y.rows * y.cols, 4096, [&](index_t begin, index_t end) {
            std::fill_n(y.data + begin, end - begin, value);
        });
        return;
    }
    cpu(context).team().for_ranges(y.rows, 16, [&](index_t begin, index_t end) {
        for (index_t t = begin; t < end; ++t) std::fill_n(y.row(t), y.cols, value);
    });
}

void on_cpu::clear(TensorRef values, const Context& context) {
    const auto width = static_cast<std::size_t>(values.cols() * dtype_bytes(values.dtype()));
    // Rows without columns may be nowhere, which memset may not be given.
    if (width == 0) return;
    cpu(context).team().for_ranges(values.rows(), 16, [&](index_t begin, index_t end) {
        for (index_t t = begin; t < end; ++t) std::memset(HostAccess::row(values, t), 0, width);
    });
}

}  // namespace sy::ops
