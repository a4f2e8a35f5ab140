#include "model/layers/feed_forward.hpp"

#include <utility>
#include <vector>

#include "kernels/ops/expert_ffn/expert_ffn.hpp"

namespace sy::model {

FeedForward::FeedForward(LayerContext& shared, const LayerKey& layer)
    : shared_(shared),
      gate_(shared.parameters.find({layer, Role::gate})),
      up_(shared.parameters.id({layer, Role::up})),
      down_(shared.parameters.id({layer, Role::down})),
      gate_bias_(shared.parameters.find({layer, Role::gate, Piece::bias})),
      up_bias_(shared.parameters.find({layer, Role::up, Piece::bias})),
      down_bias_(shared.parameters.find({layer, Role::down, Piece::bias})) {}

ops::ExpertWeights FeedForward::weights() const {
    const Parameters& parameters = shared_.parameters;
    return {.gate = parameters.working_weight(gate_),
            .up = parameters.working_weight(up_),
            .down = parameters.working_weight(down_),
            .activation = shared_.config.activation,
            .biases = {parameters.weight(gate_bias_), parameters.weight(up_bias_),
                       parameters.weight(down_bias_)}};
}

FeedForward::Saved FeedForward::apply(ConstTensorRef x, TensorRef out, bool keep, const Context& context,
                                      ConstTensorRef weight) const {
    const ops::ExpertWeights operands = weights();
    const DType dtype = shared_.config.dtype;
    Saved saved{.input = ProductInput(x, dtype, context)};
    if (keep) {
        const Shape shape{x.rows(), operands.up.cols()};
        saved.up = Tensor(context.device, dtype, shape);
        if (gate_ >= 0) saved.gate = Tensor(context.device, dtype, shape);
    }
    const index_t offsets[] = {0, x.rows()};
    ops::expert_ffn(saved.input.ref(), operands, {offsets, {}, weight, {}}, {saved.gate, saved.up}, out,
                    context);
    return saved;
}

void FeedForward::backward(const Backward& in, const Saved& saved, const PassInfo& pass,
                           const Context& context) const {
    Parameters& parameters = shared_.parameters;
    const index_t rows = in.dy.rows();
    const ProductInput dy(in.dy, shared_.config.dtype, context);
    const index_t offsets[] = {0, rows};
    std::vector<index_t> blocks;
    for (index_t row = 0; row <= rows; row += pass.seq_len) blocks.push_back(row);
    if (blocks.back() != rows) blocks.push_back(rows);
    std::vector<GradientRef> gate;
    if (gate_ >= 0) gate.push_back(parameters.gradient(gate_));
    const GradientRef up[] = {parameters.gradient(up_)};
    const GradientRef down[] = {parameters.gradient(down_)};
    const ops::ExpertBiasGradients biases{parameters.gradient(gate_bias_), parameters.gradient(up_bias_),
                                          parameters.gradient(down_bias_)};
    ops::expert_ffn_backward(saved.input.ref(), weights(), {offsets, {}, in.weight, blocks},
                             {saved.gate, saved.up}, {dy.ref(), in.dx, in.dweight, {gate, up, down, biases}},
                             context);
    shared_.gradients_ready({down_bias_, up_bias_, gate_bias_, down_, up_, gate_});
}

Value& FeedForward::forward(Tape& tape, Value& x, const PassInfo& pass) const {
    const Context& context = tape.context();
    Value& y = tape.value(x.data.ref().rows(), x.data.ref().cols());
    Saved saved = apply(x.data, y.data, tape.recording(), context);
    tape.record([this, &x, &y, &context, pass, saved = std::move(saved)] {
        Tensor dx(context.device, DType::f32, x.data.shape());
        backward({y.grad_ref(), dx}, saved, pass, context);
        x.add_gradient(std::move(dx), context);
    });
    return y;
}

}  // namespace sy::model
