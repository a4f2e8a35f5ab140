#include "model/layers/feed_forward.hpp"

#include <utility>
#include <vector>

#include "kernels/ops/cast/cast.hpp"
#include "kernels/ops/expert_ffn/expert_ffn.hpp"
#include "model/layers/linear.hpp"

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
    const auto bias = [&](ParameterId id) { return id < 0 ? ConstTensorRef() : parameters.weight(id); };
    return {.gate = gate_ < 0 ? ConstTensorRef() : parameters.working_weight(gate_),
            .up = parameters.working_weight(up_),
            .down = parameters.working_weight(down_),
            .activation = shared_.config.activation,
            .biases = {bias(gate_bias_), bias(up_bias_), bias(down_bias_)}};
}

ops::ExpertBiasGradients FeedForward::bias_gradients() const {
    const auto gradient = [&](ParameterId id) {
        return id < 0 ? GradientRef{} : shared_.parameters.gradient(id);
    };
    return {gradient(gate_bias_), gradient(up_bias_), gradient(down_bias_)};
}

FeedForward::Saved FeedForward::apply(ConstTensorRef x, TensorRef out, bool keep, const Context& context,
                                      ConstTensorRef weight) const {
    const ops::ExpertWeights operands = weights();
    const DType dtype = shared_.config.dtype;
    Saved saved;
    ConstTensorRef input = x;
    if (dtype == DType::bf16) {
        saved.input = Tensor(context.device, dtype, {x.rows(), x.cols()});
        ops::cast(x, saved.input, context);
        input = saved.input;
    }
    ops::ExpertSaved room;
    if (keep) {
        const Shape shape{x.rows(), operands.up.cols()};
        saved.up = Tensor(context.device, dtype, shape);
        room.up = saved.up;
        if (gate_ >= 0) {
            saved.gate = Tensor(context.device, dtype, shape);
            room.gate = saved.gate;
        }
    }
    const index_t offsets[] = {0, x.rows()};
    ops::expert_ffn(input, operands, {offsets, {}, weight, {}}, room, out, context);
    return saved;
}

void FeedForward::backward(const Backward& in, const Saved& saved, const PassInfo& pass,
                           const Context& context) const {
    Parameters& parameters = shared_.parameters;
    const DType dtype = shared_.config.dtype;
    const index_t rows = in.x.rows();
    const ConstTensorRef input = dtype == DType::bf16 ? saved.input.ref() : in.x;
    const ProductInput dy_input(in.dy, dtype, context);
    const index_t offsets[] = {0, rows};
    std::vector<index_t> blocks;
    for (index_t row = 0; row <= rows; row += pass.seq_len) blocks.push_back(row);
    if (blocks.back() != rows) blocks.push_back(rows);
    std::vector<GradientRef> gate;
    if (gate_ >= 0) gate.push_back(parameters.gradient(gate_));
    const GradientRef up[] = {parameters.gradient(up_)};
    const GradientRef down[] = {parameters.gradient(down_)};
    ops::ExpertKept kept{{}, saved.up};
    if (gate_ >= 0) kept.gate = saved.gate;
    ops::expert_ffn_backward(input, weights(), {offsets, {}, in.weight, blocks}, kept,
                             {dy_input.ref(), in.dx, in.dweight, {gate, up, down, bias_gradients()}},
                             context);
    for (const ParameterId id : {down_bias_, up_bias_, gate_bias_, down_, up_, gate_})
        if (id >= 0) shared_.gradient_ready(id);
}

Value& FeedForward::forward(Tape& tape, Value& x, const PassInfo& pass) const {
    const Context& context = tape.context();
    Value& y = tape.value(x.data.ref().rows(), x.data.ref().cols());
    Saved saved = apply(x.data, y.data, tape.recording(), context);
    tape.record([this, &x, &y, &context, pass, saved = std::move(saved)] {
        Tensor dx(context.device, DType::f32, x.data.shape());
        backward({x.data, y.grad_ref(), dx}, saved, pass, context);
        x.add_gradient(std::move(dx), context);
    });
    return y;
}

}  // namespace sy::model
