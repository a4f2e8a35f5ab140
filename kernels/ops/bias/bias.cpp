#include "kernels/ops/bias/bias.hpp"

#include <vector>

#include "kernels/core/fits.hpp"
#include "kernels/ops/bodies.hpp"

namespace sy::ops {

void add_bias(ConstTensorRef x, ConstTensorRef bias, TensorRef y, const Context& context) {
    context.device.bodies().add_bias(x, bias, y, context);
}

void add_bias(ConstTensorRef bias, TensorRef y, const Context& context) {
    add_bias(y, bias, y, context);
}

void bias_backward(ConstTensorRef dy, std::span<const index_t> blocks, GradientView gradient,
                   const Context& context) {
    context.device.bodies().bias_backward(dy, blocks, gradient, context);
}

void bias_backward(ConstTensorRef dy, index_t block_rows, GradientView gradient, const Context& context) {
    SY_FITS(block_rows > 0, "bias_backward: blocks of ", block_rows, " rows");
    std::vector<index_t> blocks;
    for (index_t row = 0; row < dy.rows(); row += block_rows) blocks.push_back(row);
    blocks.push_back(dy.rows());
    bias_backward(dy, std::span<const index_t>(blocks), gradient, context);
}

}  // namespace sy::ops
