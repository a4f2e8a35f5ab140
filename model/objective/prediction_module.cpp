#include "model/objective/prediction_module.hpp"

#include <utility>

#include "kernels/ops/copy/copy.hpp"

namespace sy::model {
namespace {

LayerKey key_of(const BlockSpec& spec) {
    return {spec.stack, spec.stream_idx, Part::prediction};
}

}  // namespace

PredictionModule::PredictionModule(const BlockContext& context, const Positions& positions,
                                   const BlockSpec& spec)
    : shared_(context.shared),
      hidden_norm_(context.shared, key_of(spec), Role::hidden_norm),
      embedding_norm_(context.shared, key_of(spec), Role::embedding_norm),
      projection_(context.shared, key_of(spec), Role::projection),
      block_(context, positions, spec) {}

Value& PredictionModule::combine(Tape& tape, Value& hidden, Value& embedded, const PassInfo& pass) const {
    Value& left = *hidden_norm_.forward(tape, hidden, nullptr, pass).normed;
    Value& right = *embedding_norm_.forward(tape, embedded, nullptr, pass).normed;
    const Context& context = tape.context();
    const index_t rows = left.ref().rows();
    const index_t width = left.ref().cols();
    Tensor both(context.device, DType::f32, {rows, 2 * width});
    ops::copy(left.ref(), both.ref().cols_of({0, width}), context);
    ops::copy(right.ref(), both.ref().cols_of({width, 2 * width}), context);
    ProductInput input(std::move(both), shared_.config.dtype, context);
    Value& y = tape.value(rows, width);
    projection_.forward(input.ref(), y.data, context);
    tape.record([this, &left, &right, &y, &context, block = pass.seq_len, input = std::move(input)] {
        const index_t cols = y.ref().cols();
        const Tensor dboth = projection_.backward(input.ref(), y.grad_ref(), block, context);
        const auto give = [&](Value& half, Range part) {
            Tensor dhalf(context.device, DType::f32, half.data.shape());
            ops::copy(dboth.ref().cols_of(part), dhalf, context);
            half.add_gradient(std::move(dhalf), context);
        };
        give(left, {0, cols});
        give(right, {cols, 2 * cols});
    });
    return y;
}

}  // namespace sy::model
