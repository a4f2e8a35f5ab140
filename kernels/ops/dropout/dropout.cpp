#include "kernels/ops/dropout/dropout.hpp"

#include "kernels/ops/bodies.hpp"

namespace sy::ops {

void dropout(ConstTensorRef x, const RandomKey& key, index_t first_row, float probability, TensorRef y,
             const Context& context) {
    context.device.bodies().dropout(x, key, first_row, probability, y, context);
}

void dropout_rows(ConstTensorRef x, const DropoutRows& rows, TensorRef y, const Context& context) {
    context.device.bodies().dropout_rows(x, rows, y, context);
}

}  // namespace sy::ops
