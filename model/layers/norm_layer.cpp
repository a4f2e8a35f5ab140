#include "model/layers/norm_layer.hpp"

#include "kernels/ops/norm/norm.hpp"

namespace sy::model {

NormLayer::NormLayer(LayerContext& shared, const LayerKey& layer, Role role)
    : shared_(shared),
      gain_(shared.parameters.id({layer, role, Piece::gain})),
      bias_(shared.parameters.find({layer, role, Piece::bias})) {}

ops::Norm NormLayer::norm() const {
    return {.kind = shared_.config.norm,
            .gain = shared_.parameters.weight(gain_),
            .bias = shared_.parameters.weight(bias_),
            .eps = static_cast<float>(shared_.config.norm_eps)};
}

NormLayer::Result NormLayer::forward(Tape& tape, Value& stream, Value* delta, const PassInfo& pass) const {
    const Context& context = tape.context();
    const TensorRef x = stream.ref();
    const ops::Norm rule = norm();
    Value& normed = tape.value(x.rows(), x.cols());
    Value* sum = &stream;
    Tensor rstd(context.device, DType::f32, {x.rows()});
    Tensor mean(context.device, DType::f32, {rule.kind == NormKind::layer ? x.rows() : 0});
    const ops::NormStatistics statistics{rstd, mean};
    if (delta != nullptr) {
        sum = &tape.value(x.rows(), x.cols());
        ops::add_norm(rule, {x, delta->ref(), sum->ref(), normed.ref()}, statistics, context);
    } else {
        ops::norm(rule, x, normed.ref(), statistics, context);
    }
    tape.record([this, &stream, delta, sum, &normed, &context, block = pass.seq_len, rstd = std::move(rstd),
                 mean = std::move(mean)]() mutable {
        // Backward of what used the sum has left its gradient there, or nothing when only the norm used it.
        const TensorRef total = sum->ref();
        const Write write = sum->grad.empty() ? Write::overwrite : Write::add;
        if (sum->grad.empty()) sum->grad = Tensor(context.device, DType::f32, {total.rows(), total.cols()});
        ops::norm_backward(norm(), {total, rstd, mean, normed.grad_ref(), write, block}, sum->grad,
                           {shared_.parameters.gradient(gain_), shared_.parameters.gradient(bias_)}, context);
        if (delta != nullptr) {
            stream.grad = std::move(sum->grad);
            delta->grad_owner = &stream;
        }
        shared_.gradients_ready({gain_, bias_});
    });
    return {sum, &normed};
}

}  // namespace sy::model
