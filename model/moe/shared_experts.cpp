#include "model/moe/shared_experts.hpp"

#include "kernels/ops/pointwise/pointwise.hpp"

namespace sy::model {

SharedExperts::SharedExperts(LayerContext& shared, const LayerKey& layer) : feed_forward_(shared, layer) {
    if (shared.parameters.find({layer, Role::output_gate}) >= 0)
        gate_.emplace(shared, layer, Role::output_gate);
}

SharedExperts::Saved SharedExperts::apply(ConstTensorRef x, TensorRef out, bool keep,
                                          const Context& context) const {
    Saved saved;
    if (gate_) {
        saved.gate = gate_->forward(x, context);
        ops::sigmoid(saved.gate, context);
    }
    saved.feed_forward = feed_forward_.apply(x, out, keep, context, saved.gate);
    return saved;
}

void SharedExperts::backward(ConstTensorRef x, const Saved& saved, ConstTensorRef dy, TensorRef dx,
                             const PassInfo& pass, const Context& context) const {
    if (!gate_) return feed_forward_.backward({dy, dx}, saved.feed_forward, pass, context);
    Tensor dweight(context.device, DType::f32, {x.rows()});
    feed_forward_.backward({dy, dx, saved.gate, dweight}, saved.feed_forward, pass, context);
    const TensorRef dgate = dweight.ref().as_matrix(x.rows(), 1);
    ops::sigmoid_backward(saved.gate, dgate, context);
    gate_->backward({x, dgate, Write::add, pass.seq_len}, dx, context);
}

}  // namespace sy::model
