#include "kernels/ops/gemm/gemm.hpp"

#include "kernels/ops/bodies.hpp"

namespace sy::ops {

void multiply(const Product& product, const Context& context) {
    context.device.bodies().multiply(product, context);
}

void add_weight_gradient(ConstTensorRef x, ConstTensorRef dy, index_t block_rows, GradientView gradient,
                         const Context& context) {
    context.device.bodies().add_weight_gradient(x, dy, block_rows, gradient, context);
}

}  // namespace sy::ops
