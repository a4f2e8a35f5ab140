#include "model/objective/prediction_module.hpp"

#include "kernels/ops/copy/copy.hpp"

namespace sy::model {
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
    ops::copy(left.view(), both.matrix<float>().cols_of({0, hidden}), context);
    ops::copy(right.view(), both.matrix<float>().cols_of({hidden, 2 * hidden}), context);
    ProductInput<In> input(both.matrix<float>(), context);
    Value& y = tape.value(rows, hidden);
    projection_.forward<In>(input.view(), y.view(), context);
    tape.record([this, &left, &right, &y, &context, block = pass.seq_len, both = std::move(both),
                 input = std::move(input)]() mutable {
        const index_t cols = y.view().cols;
        Tensor dboth(context.arena, DType::f32, both.shape());
        projection_.backward<In>({input.view(), y.grad_view(), Write::overwrite, block},
                                 dboth.matrix<float>(), context);
        const auto give = [&](Value& half, Range part) {
            Tensor dhalf(context.arena, DType::f32, half.data.shape());
            ops::copy(dboth.matrix<float>().cols_of(part), dhalf.matrix<float>(), context);
            half.add_gradient(std::move(dhalf), context);
        };
        give(left, {0, cols});
        give(right, {cols, 2 * cols});
    });
    return y;
}

}  // namespace sy::model
