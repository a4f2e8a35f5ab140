#include "model/moe/shared_experts.hpp"

#include "kernels/ops/pointwise/pointwise.hpp"
#include "model/layers/linear.hpp"

namespace sy::model {

SharedExperts::SharedExperts(LayerContext& shared, const LayerKey& layer)
    : shared_(shared),
      feed_forward_(shared, layer),
      gate_(shared.parameters.find({layer, Role::output_gate})) {}

SharedExperts::Saved SharedExperts::apply(ConstTensorRef x, TensorRef out, bool keep,
                                          const Context& context) const {
    Saved saved;
    if (gate_ < 0) {
        saved.feed_forward = feed_forward_.apply(x, out, keep, context);
        return saved;
    }
    saved.gate = Tensor(context.device, DType::f32, {x.rows(), 1});
    const ProductInput input(x, shared_.config.dtype, context);
    linear(input.ref(), shared_.parameters.working_weight(gate_), saved.gate, context);
    ops::sigmoid(saved.gate, context);
    saved.feed_forward = feed_forward_.apply(x, out, keep, context, saved.gate);
    return saved;
}

void SharedExperts::backward(ConstTensorRef x, const Saved& saved, ConstTensorRef dy, TensorRef dx,
                             const PassInfo& pass, const Context& context) const {
    if (gate_ < 0) {
        feed_forward_.backward({x, dy, dx}, saved.feed_forward, pass, context);
        return;
    }
    Tensor dweight(context.device, DType::f32, {x.rows()});
    feed_forward_.backward({x, dy, dx, saved.gate, dweight}, saved.feed_forward, pass, context);
    const TensorRef dgate = dweight.ref().as_matrix(x.rows(), 1);
    ops::sigmoid_backward(saved.gate, dgate, context);
    const DType dtype = shared_.config.dtype;
    const ProductInput input(x, dtype, context);
    const ProductInput dlogit(dgate, dtype, context);
    Parameters& parameters = shared_.parameters;
    linear_backward({input.ref(), dlogit.ref(), parameters.working_weight(gate_), Write::add, pass.seq_len},
                    dx, parameters.gradient(gate_), context);
    shared_.gradient_ready(gate_);
}

}  // namespace sy::model
