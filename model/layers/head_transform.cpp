#include "model/layers/head_transform.hpp"

#include <utility>

#include "kernels/ops/pointwise/pointwise.hpp"

namespace sy::model {
namespace {

constexpr LayerKey kOutput{StackId::main, -1, Part::output};

}  // namespace

HeadTransform::HeadTransform(LayerContext& shared)
    : shared_(shared),
      dense_(shared, kOutput, Role::transform),
      norm_(shared, kOutput, Role::transform_norm) {}

Value& HeadTransform::forward(Tape& tape, Value& x, const PassInfo& pass) const {
    const Context& context = tape.context();
    Value& y = tape.value(x.ref().rows(), x.ref().cols());
    ProductInput input(x.ref(), shared_.config.dtype, context);
    Tensor projected = dense_.forward(input.ref(), context);
    ops::nonlinearity(shared_.config.activation, projected, y.ref(), context);
    tape.record([this, &x, &y, &context, block = pass.seq_len, input = std::move(input),
                 projected = std::move(projected)] {
        Tensor dprojected(context.device, DType::f32, projected.shape());
        ops::nonlinearity_backward(shared_.config.activation, {projected, y.grad_ref(), y.data, dprojected},
                                   context);
        dense_.backward(input.ref(), dprojected, block, x, context);
    });
    return *norm_.forward(tape, y, nullptr, pass).normed;
}

}  // namespace sy::model
