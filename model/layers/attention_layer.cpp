#include <cmath>
#include <cstring>

#include "kernels/ops/attention/attention.hpp"
#include "model/layers/layers.hpp"
#include "model/layers/linear.hpp"

namespace sy::model {
namespace {

/// Position of each row in its sequence.
std::vector<std::int32_t> row_positions(index_t rows, index_t seq_len) {
    std::vector<std::int32_t> position(static_cast<std::size_t>(rows));
    for (index_t t = 0; t < rows; ++t)
        position[static_cast<std::size_t>(t)] = static_cast<std::int32_t>(t % seq_len);
    return position;
}

ops::AttentionShape shape_of(const ModelConfig& config, index_t num_sequences, index_t seq_len) {
    const auto width = static_cast<float>(config.head_width());
    return {num_sequences,          seq_len, config.heads, config.kv_heads, config.head_width(),
            1.0F / std::sqrt(width)};
}

/// What attention keeps for its backward.
template <class In>
struct Kept {
    ProductInput<In> input;
    Tensor q, k, v, out, lse;
};

}  // namespace

AttentionLayer::AttentionLayer(LayerContext& shared, const std::string& name, const ops::RotaryTable& table)
    : shared_(shared), table_(table) {
    const ModelConfig& config = shared.config;
    const index_t q_width = config.heads * config.head_width();
    const index_t kv_width = config.kv_heads * config.head_width();
    const auto deviation = static_cast<float>(config.init_std);
    // GPT-2's rule: what writes to the residual stream starts smaller by the root of the number of such writes.
    const auto output_deviation =
        static_cast<float>(config.init_std / std::sqrt(2.0 * static_cast<double>(config.layers)));
    const auto add = [&](const char* part, Shape shape, float scale) {
        return shared.parameters.add({.name = name + "." + part, .shape = shape, .deviation = scale});
    };
    query_ = add("query", {config.hidden, q_width}, deviation);
    key_ = add("key", {config.hidden, kv_width}, deviation);
    value_ = add("value", {config.hidden, kv_width}, deviation);
    output_ = add("output", {q_width, config.hidden}, output_deviation);
}

Value& AttentionLayer::forward(Tape& tape, Value& x, const PassInfo& pass) const {
    return shared_.config.dtype == DType::bf16 ? run<bf16>(tape, x, pass) : run<float>(tape, x, pass);
}

template <class In>
Value& AttentionLayer::run(Tape& tape, Value& x, const PassInfo& pass) const {
    const Context& context = tape.context();
    const ModelConfig& config = shared_.config;
    const Parameters& parameters = shared_.parameters;
    const index_t rows = x.view().rows;
    const ops::AttentionShape shape = shape_of(config, rows / pass.seq_len, pass.seq_len);
    const index_t q_width = config.heads * config.head_width();
    const index_t kv_width = config.kv_heads * config.head_width();
    const auto fresh = [&](index_t cols) { return Tensor(context.arena, DType::f32, {rows, cols}); };
    Kept<In> kept{ProductInput<In>(x.view(), context),
                  fresh(q_width),
                  fresh(kv_width),
                  fresh(kv_width),
                  fresh(q_width),
                  fresh(config.heads)};
    linear<In>(kept.input.view(), parameters.weight<In>(query_), kept.q.template matrix<float>(), context);
    linear<In>(kept.input.view(), parameters.weight<In>(key_), kept.k.template matrix<float>(), context);
    linear<In>(kept.input.view(), parameters.weight<In>(value_), kept.v.template matrix<float>(), context);
    const std::vector<std::int32_t> position = row_positions(rows, pass.seq_len);
    using enum ops::Direction;
    ops::rotary(kept.q.template matrix<float>(), shape.head_dim, position, table_, forward, context);
    ops::rotary(kept.k.template matrix<float>(), shape.head_dim, position, table_, forward, context);
    ops::attention(shape, kept.q.template matrix<float>(), kept.k.template matrix<float>(),
                   kept.v.template matrix<float>(), kept.out.template matrix<float>(),
                   kept.lse.template matrix<float>(), context);
    Value& y = tape.value(rows, config.hidden);
    const ProductInput<In> attended(std::as_const(kept.out).template matrix<float>(), context);
    linear<In>(attended.view(), parameters.weight<In>(output_), y.view(), context);

    tape.record(
        [this, &x, &y, &context, shape, position, block = pass.seq_len, kept = std::move(kept)]() mutable {
            Parameters& weights = shared_.parameters;

            const ProductInput<In> dy(y.grad_view(), context);
            const ProductInput<In> out(std::as_const(kept.out).template matrix<float>(), context);
            Tensor dout(context.arena, DType::f32, kept.out.shape());
            linear_backward<In>({out.view(), dy.view(), weights.weight<In>(output_), 0.0F, block},
                                dout.matrix<float>(), weights.gradient(output_), context);
            Tensor dq(context.arena, DType::f32, kept.q.shape());
            Tensor dk(context.arena, DType::f32, kept.k.shape());
            Tensor dv(context.arena, DType::f32, kept.v.shape());
            ops::attention_backward(shape,
                                    {kept.q.template matrix<float>(), kept.k.template matrix<float>(),
                                     kept.v.template matrix<float>(), kept.out.template matrix<float>(),
                                     kept.lse.template matrix<float>(), dout.matrix<float>(),
                                     dq.matrix<float>(), dk.matrix<float>(), dv.matrix<float>()},
                                    context);
            ops::rotary(dq.matrix<float>(), shape.head_dim, position, table_, backward, context);
            ops::rotary(dk.matrix<float>(), shape.head_dim, position, table_, backward, context);
            float beta = x.open_gradient(context);
            for (const auto& [gradient, id] :
                 {std::pair(&dq, query_), std::pair(&dk, key_), std::pair(&dv, value_)}) {
                const ProductInput<In> d(std::as_const(*gradient).template matrix<float>(), context);
                linear_backward<In>({kept.input.view(), d.view(), weights.weight<In>(id), beta, block},
                                    x.grad.matrix<float>(), weights.gradient(id), context);
                beta = 1.0F;
            }
            for (const ParameterId id : {output_, value_, key_, query_}) shared_.gradient_ready(id);
        });
    return y;
}

void AttentionLayer::decode(MatrixView<const float> x, index_t position, KeyValueCache& cache,
                            MatrixView<float> out, const Context& context) const {
    if (shared_.config.dtype == DType::bf16) {
        run_decode<bf16>(x, position, cache, out, context);
    } else {
        run_decode<float>(x, position, cache, out, context);
    }
}

template <class In>
void AttentionLayer::run_decode(MatrixView<const float> x, index_t position, KeyValueCache& cache,
                                MatrixView<float> out, const Context& context) const {
    const ModelConfig& config = shared_.config;
    const Parameters& parameters = shared_.parameters;
    const ops::AttentionShape shape = shape_of(config, x.rows, 1);
    const index_t kv_width = config.kv_heads * config.head_width();
    const index_t capacity = cache.keys.shape()[1];
    Tensor q(context.arena, DType::f32, {x.rows, config.heads * config.head_width()});
    Tensor k(context.arena, DType::f32, {x.rows, kv_width});
    Tensor v(context.arena, DType::f32, {x.rows, kv_width});
    const ProductInput<In> input(x, context);
    linear<In>(input.view(), parameters.weight<In>(query_), q.matrix<float>(), context);
    linear<In>(input.view(), parameters.weight<In>(key_), k.matrix<float>(), context);
    linear<In>(input.view(), parameters.weight<In>(value_), v.matrix<float>(), context);
    const std::vector<std::int32_t> positions(static_cast<std::size_t>(x.rows),
                                              narrow<std::int32_t>(position));
    ops::rotary(q.matrix<float>(), shape.head_dim, positions, table_, ops::Direction::forward, context);
    ops::rotary(k.matrix<float>(), shape.head_dim, positions, table_, ops::Direction::forward, context);
    const TensorView3<float> keys(cache.keys.values<float>().data(), x.rows, capacity, kv_width);
    const TensorView3<float> values(cache.values.values<float>().data(), x.rows, capacity, kv_width);
    const auto row_bytes = static_cast<std::size_t>(kv_width) * sizeof(float);
    for (index_t b = 0; b < x.rows; ++b) {
        std::memcpy(keys[b].row(position), k.matrix<float>().row(b), row_bytes);
        std::memcpy(values[b].row(position), v.matrix<float>().row(b), row_bytes);
    }
    Tensor attended(context.arena, DType::f32, q.shape());
    const std::vector<index_t> lengths(static_cast<std::size_t>(x.rows), position + 1);
    ops::attention_decode(shape, q.matrix<float>(), keys, values, lengths, attended.matrix<float>(), context);
    const ProductInput<In> rows(std::as_const(attended).matrix<float>(), context);
    linear<In>(rows.view(), parameters.weight<In>(output_), out, context);
}

}  // namespace sy::model
