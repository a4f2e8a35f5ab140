#include "model/layers/embedding.hpp"

#include <utility>
#include <vector>

#include "kernels/ops/embedding/embedding.hpp"
#include "kernels/ops/reduce/reduce.hpp"
#include "model/layers/positions.hpp"
#include "model/layers/residual.hpp"

namespace sy::model {
namespace {

std::vector<std::int32_t> kept_values(const List<std::int32_t>& list) {
    const std::span<const std::int32_t> values = list.of_host();
    return {values.begin(), values.end()};
}

}  // namespace

Embedding::Embedding(LayerContext& shared, StackId stack, index_t stream_idx)
    : shared_(shared), stream_idx_(stream_idx), table_(embedding_table(shared.parameters)) {
    const ModelConfig& config = shared.config;
    const Context& context = shared.parameters.context();
    const LayerKey layer{stack, -1, Part::embedding};
    learned_ = shared.parameters.find({layer, Role::position_embedding});
    types_ = shared.parameters.find({layer, Role::token_type});
    if (config.position.kind == PositionKind::sine) {
        sine_ = Tensor(context.device, DType::f32, {config.seq_len, config.hidden});
        ops::sine_table(sine_, context);
    }
    if (config.embedding_norm) norm_ = std::make_unique<NormLayer>(shared, layer, Role::norm);
}

Value& Embedding::rows(Tape& tape, List<std::int32_t> ids) const {
    const Context& context = tape.context();
    Value& x = tape.value(ids.size(), shared_.config.hidden);
    ops::embedding(shared_.parameters.working_weight(table_), ids, x.data, context);
    const auto scale = static_cast<float>(shared_.config.embedding_scale);
    if (scale != 1.0F) ops::scale(scale, x.data, context);
    if (!tape.recording()) return x;
    tape.record([this, &x, &context, scale, kept = kept_values(ids)] {
        Tensor scaled;
        if (scale != 1.0F) {
            scaled = Tensor(context.device, DType::f32, x.data.shape());
            ops::scale(scale, x.grad_ref(), scaled, context);
        }
        const ConstTensorRef dx = scaled.empty() ? x.grad_ref() : scaled;
        ops::embedding_backward(kept, dx, shared_.parameters.gradient(table_), context);
        shared_.gradient_ready(table_);
    });
    return x;
}

Value& Embedding::finish(Tape& tape, Value& x, List<std::int32_t> positions, const PassInfo& pass) const {
    const Context& context = tape.context();
    if (!sine_.empty()) ops::add_positions(sine_, positions, x.data, context);
    const auto add_rows = [&](ParameterId table, List<std::int32_t> rows) {
        if (table < 0) return;
        ops::add_positions(shared_.parameters.working_weight(table), rows, x.data, context);
        if (!tape.recording()) return;
        tape.record([this, &x, &context, table, kept = kept_values(rows)] {
            ops::embedding_backward(kept, x.grad_ref(), shared_.parameters.gradient(table), context);
            shared_.gradient_ready(table);
        });
    };
    add_rows(learned_, positions);
    add_rows(types_, PerRow<std::int32_t>(x.ref().rows(), 0));
    Value& out = norm_ ? *norm_->forward(tape, x, nullptr, pass).normed : x;
    drop(tape, out, shared_.config.dropout, 4 * stream_idx_, pass);
    return out;
}

Value& Embedding::forward(Tape& tape, const PassInfo& pass) const {
    Value& x = rows(tape, pass.ids);
    const PerRow<std::int32_t> positions = positions_of_rows(x.ref().rows(), pass.seq_len);
    return finish(tape, x, positions, pass);
}

Value& Embedding::forward_at(Tape& tape, const PassInfo& pass, List<std::int32_t> ids,
                             List<std::int32_t> positions) const {
    return finish(tape, rows(tape, ids), positions, pass);
}

}  // namespace sy::model
