#include "kernels/ops/quantize/quantize.hpp"

#include "kernels/ops/bodies.hpp"

namespace sy::ops {

void quantize_rows(ConstTensorRef x, TensorRef out, const Context& context) {
    context.device.bodies().quantize_rows(x, out, context);
}

void dequantize_rows(ConstTensorRef x, std::span<const std::int32_t> row, TensorRef out,
                     const Context& context) {
    context.device.bodies().dequantize_rows(x, row, out, context);
}

}  // namespace sy::ops
