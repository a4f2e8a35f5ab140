#include "model/layers/projection.hpp"

#include "kernels/ops/bias/bias.hpp"

namespace sy::model {

Projection::Projection(LayerContext& shared, const std::string& name, Sides sides, float deviation, Bias bias)
    : shared_(shared) {
    weight_ = shared.parameters.add({.name = name, .shape = {sides.in, sides.out}, .deviation = deviation});
    if (bias == Bias::none) return;
    bias_ = shared.parameters.add(
        {.name = name + "_bias", .shape = {sides.out}, .init = Init::zeros, .weight_decay = false});
}

void Projection::forward(ConstTensorRef x, TensorRef y, const Context& context) const {
    linear(x, weight(), y, context);
    if (bias_ >= 0) ops::add_bias(shared_.parameters.weight(bias_), y, context);
}

void Projection::backward(const Backward& in, TensorRef dx, const Context& context) const {
    const ProductInput dy(in.dy, shared_.config.dtype, context);
    linear_backward({in.x, dy.ref(), weight(), in.write, in.block_rows}, dx,
                    shared_.parameters.gradient(weight_), context);
    shared_.gradient_ready(weight_);
    if (bias_ < 0) return;
    ops::bias_backward(in.dy, in.block_rows, shared_.parameters.gradient(bias_), context);
    shared_.gradient_ready(bias_);
}

}  // namespace sy::model
