#include "kernels/ops/bias/bias.hpp"

#include <vector>

#include "kernels/core/fits.hpp"
#include "kernels/core/profile.hpp"
#include "kernels/ops/bodies.hpp"

namespace sy::ops {

void add_bias(ConstTensorRef x, ConstTensorRef bias, TensorRef y, const Context& context) {
    SY_FITS(bias.num_elements() == y.cols(), "add_bias: ", bias.num_elements(), " values for ", y.cols(),
            " columns");
    SY_FITS(same_sides(x, y), "add_bias: [", x.rows(), ", ", x.cols(), "] into [", y.rows(), ", ", y.cols(),
            "]");
    const Timed timed(context, OpKind::elementwise, static_cast<double>(y.num_elements()));
    context.device.bodies().add_bias(x, bias, y, context);
}

void add_bias(ConstTensorRef bias, TensorRef y, const Context& context) {
    add_bias(y, bias, y, context);
}

void bias_backward(ConstTensorRef dy, std::span<const index_t> blocks, GradientRef gradient,
                   const Context& context) {
    SY_FITS(gradient.num_elements() == dy.cols() && !blocks.empty() && blocks.front() == 0 &&
                blocks.back() == dy.rows() && std::ranges::is_sorted(blocks),
            "bias_backward: dy [", dy.rows(), ", ", dy.cols(), "], gradient of ", gradient.num_elements(),
            ", blocks from ", blocks.empty() ? -1 : blocks.front(), " to ",
            blocks.empty() ? -1 : blocks.back());
    const Timed timed(context, OpKind::elementwise, static_cast<double>(dy.num_elements()));
    context.device.bodies().bias_backward(dy, blocks, gradient, context);
}

void bias_backward(ConstTensorRef dy, index_t block_rows, GradientRef gradient, const Context& context) {
    SY_FITS(block_rows > 0, "bias_backward: blocks of ", block_rows, " rows");
    std::vector<index_t> blocks;
    for (index_t row = 0; row < dy.rows(); row += block_rows) blocks.push_back(row);
    blocks.push_back(dy.rows());
    bias_backward(dy, std::span<const index_t>(blocks), gradient, context);
}

}  // namespace sy::ops
