#include "kernels/ops/norm/norm.hpp"
#include "model/layers/layers.hpp"

namespace sy::model {

NormLayer::NormLayer(LayerContext& shared, const std::string& name) : shared_(shared) {
    gain_ = shared.parameters.add(
        {.name = name + ".gain", .shape = {shared.config.hidden}, .init = Init::ones, .weight_decay = false});
}

ops::Norm NormLayer::norm() const {
    return {.kind = ops::NormKind::rms,
            .gain = shared_.parameters.weight<float>(gain_).row_span(0),
            .bias = {},
            .eps = static_cast<float>(shared_.config.norm_eps)};
}

NormLayer::Result NormLayer::forward(Tape& tape, Value& stream, Value* delta, const PassInfo& pass) const {
    const Context& context = tape.context();
    const MatrixView<float> x = stream.view();
    const ops::Norm rule = norm();
    Value& normed = tape.value(x.rows, x.cols);
    Value* sum = &stream;
    Tensor rstd(context.arena, DType::f32, {x.rows});
    const ops::NormStatistics<float> statistics{rstd.values<float>(), {}};
    if (delta != nullptr) {
        sum = &tape.value(x.rows, x.cols);
        ops::add_norm(rule, {x, delta->view(), sum->view(), normed.view()}, statistics, context);
    } else {
        ops::norm(rule, x, normed.view(), statistics, context);
    }
    tape.record([this, &stream, delta, sum, &normed, &context, block = pass.seq_len,
                 rstd = std::move(rstd)]() mutable {
        // Backward of what used the sum has left its gradient there, or nothing when only the norm used it.
        const MatrixView<float> total = sum->view();
        const ops::Write write = sum->grad.empty() ? ops::Write::overwrite : ops::Write::add;
        if (sum->grad.empty()) sum->grad = Tensor(context.arena, DType::f32, {total.rows, total.cols});
        ops::norm_backward(norm(), {total, {rstd.values<float>(), {}}, normed.grad_view(), write, block},
                           sum->grad.matrix<float>(), {shared_.parameters.gradient(gain_), {}}, context);
        if (delta != nullptr) {
            stream.grad = std::move(sum->grad);
            delta->grad_owner = &stream;
        }
        shared_.gradient_ready(gain_);
    });
    return {sum, &normed};
}

}  // namespace sy::model
