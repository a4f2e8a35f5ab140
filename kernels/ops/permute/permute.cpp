#include "kernels/ops/permute/permute.hpp"

#include "kernels/ops/bodies.hpp"

namespace sy::ops {

void gather_rows(ConstTensorRef x, std::span<const std::int32_t> row, TensorRef out, const Context& context) {
    context.device.bodies().gather_rows(x, row, out, context);
}

void sum_rows(ConstTensorRef x, std::span<const index_t> offsets, std::span<const std::int32_t> sources,
              Write write, TensorRef out, const Context& context) {
    context.device.bodies().sum_rows(x, offsets, sources, write, out, context);
}

}  // namespace sy::ops
