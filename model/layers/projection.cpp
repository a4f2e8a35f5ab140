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

template <class In>
void Projection::forward(MatrixView<const In> x, MatrixView<float> y, const Context& context) const {
    linear<In>(x, weight<In>(), y, context);
    if (bias_ >= 0) ops::add_bias(shared_.parameters.weight<float>(bias_).row_span(0), y, context);
}

template <class In>
void Projection::backward(const Backward<In>& in, MatrixView<float> dx, const Context& context) const {
    const ProductInput<In> dy(in.dy, context);
    linear_backward<In>({in.x, dy.view(), weight<In>(), in.write, in.block_rows}, dx,
                        shared_.parameters.gradient(weight_), context);
    shared_.gradient_ready(weight_);
    if (bias_ < 0) return;
    ops::bias_backward<float>(in.dy, in.block_rows, shared_.parameters.gradient(bias_), context);
    shared_.gradient_ready(bias_);
}

template void Projection::forward<float>(MatrixView<const float>, MatrixView<float>, const Context&) const;
template void Projection::forward<bf16>(MatrixView<const bf16>, MatrixView<float>, const Context&) const;
template void Projection::backward<float>(const Backward<float>&, MatrixView<float>, const Context&) const;
template void Projection::backward<bf16>(const Backward<bf16>&, MatrixView<float>, const Context&) const;

}  // namespace sy::model
