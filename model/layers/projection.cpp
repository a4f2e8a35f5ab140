#include "model/layers/projection.hpp"

#include "kernels/ops/bias/bias.hpp"

namespace sy::model {

Projection::Projection(LayerContext& shared, const LayerKey& layer, Role role)
    : shared_(shared),
      weight_(shared.parameters.id({layer, role})),
      bias_(shared.parameters.find({layer, role, Piece::bias})) {}

void Projection::forward(ConstTensorRef x, TensorRef y, const Context& context) const {
    const ProductInput input(x, shared_.config.dtype, context);
    linear(input.ref(), weight(), y, context);
    if (bias_ >= 0) ops::add_bias(shared_.parameters.weight(bias_), y, context);
}

Tensor Projection::forward(ConstTensorRef x, const Context& context) const {
    Tensor y(context.device, DType::f32, {x.rows(), weight().cols()});
    forward(x, y, context);
    return y;
}

Tensor Projection::backward(ConstTensorRef x, ConstTensorRef dy, index_t block_rows,
                            const Context& context) const {
    Tensor dx(context.device, DType::f32, {dy.rows(), weight().rows()});
    backward({x, dy, Write::overwrite, block_rows}, dx, context);
    return dx;
}

void Projection::backward(const Backward& in, TensorRef dx, const Context& context) const {
    const ProductInput x(in.x, shared_.config.dtype, context);
    const ProductInput dy(in.dy, shared_.config.dtype, context);
    linear_backward({x.ref(), dy.ref(), weight(), in.write, in.block_rows}, dx,
                    shared_.parameters.gradient(weight_), context);
    shared_.gradient_ready(weight_);
    if (bias_ < 0) return;
    ops::bias_backward(in.dy, in.block_rows, shared_.parameters.gradient(bias_), context);
    shared_.gradient_ready(bias_);
}

}  // namespace sy::model
