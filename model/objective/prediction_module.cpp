#include "model/objective/prediction_module.hpp"

#include <cstring>

namespace sy::model {
namespace {

/// Copies columns [first, first + to.cols) of every row.
void copy_columns(MatrixView<const float> from, index_t from_col, MatrixView<float> to, index_t to_col,
                  index_t count) {
    for (index_t t = 0; t < from.rows; ++t) {
        std::memcpy(to.row(t) + to_col, from.row(t) + from_col,
                    static_cast<std::size_t>(count) * sizeof(float));
    }
}

}  // namespace

PredictionModule::PredictionModule(const BlockContext& context, const Positions& positions,
                                   const BlockSpec& spec)
    : shared_(context.shared),
      hidden_norm_(context.shared, spec.name + ".hidden_norm"),
      embedding_norm_(context.shared, spec.name + ".embedding_norm"),
      projection_(context.shared, spec.name + ".projection",
                  {2 * context.shared.config.hidden, context.shared.config.hidden},
                  static_cast<float>(context.shared.config.init_std), Bias::none),
      block_(context, positions, spec) {}

Value& PredictionModule::combine(Tape& tape, Value& hidden, Value& embedded, const PassInfo& pass) const {
    Value& left = *hidden_norm_.forward(tape, hidden, nullptr, pass).normed;
    Value& right = *embedding_norm_.forward(tape, embedded, nullptr, pass).normed;
    return shared_.config.dtype == DType::bf16 ? project<bf16>(tape, left, right, pass)
                                               : project<float>(tape, left, right, pass);
}

template <class In>
Value& PredictionModule::project(Tape& tape, Value& left, Value& right, const PassInfo& pass) const {
    const Context& context = tape.context();
    const auto [rows, hidden] = std::pair(left.view().rows, left.view().cols);
    Tensor both(context.arena, DType::f32, {rows, 2 * hidden});
    copy_columns(left.view(), 0, both.matrix<float>(), 0, hidden);
    copy_columns(right.view(), 0, both.matrix<float>(), hidden, hidden);
    ProductInput<In> input(std::as_const(both).matrix<float>(), context);
    Value& y = tape.value(rows, hidden);
    projection_.forward<In>(input.view(), y.view(), context);
    tape.record([this, &left, &right, &y, &context, block = pass.seq_len, both = std::move(both),
                 input = std::move(input)]() mutable {
        const index_t cols = y.view().cols;
        Tensor dboth(context.arena, DType::f32, both.shape());
        projection_.backward<In>({input.view(), y.grad_view(), 0.0F, block}, dboth.matrix<float>(), context);
        for (Value* const half : {&left, &right}) {
            Tensor dhalf(context.arena, DType::f32, half->data.shape());
            copy_columns(std::as_const(dboth).matrix<float>(), half == &left ? 0 : cols,
                         dhalf.matrix<float>(), 0, cols);
            half->add_gradient(std::move(dhalf), context);
        }
    });
    return y;
}

}  // namespace sy::model
