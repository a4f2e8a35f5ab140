#include <cmath>

#include "kernels/ops/cast/cast.hpp"
#include "kernels/ops/expert_ffn/expert_ffn.hpp"
#include "model/layers/layers.hpp"
#include "model/layers/linear.hpp"

namespace sy::model {
namespace {

template <class In>
TensorView3<const In> as_one_expert(MatrixView<const In> weight) {
    return {weight.data, 1, weight.rows, weight.cols};
}

}  // namespace

FeedForward::FeedForward(LayerContext& shared, const std::string& name, index_t width) : shared_(shared) {
    const ModelConfig& config = shared.config;
    const auto deviation = static_cast<float>(config.init_std);
    const auto output_deviation =
        static_cast<float>(config.init_std / std::sqrt(2.0 * static_cast<double>(config.layers)));
    gate_ = shared.parameters.add(
        {.name = name + ".gate", .shape = {config.hidden, width}, .deviation = deviation});
    up_ = shared.parameters.add(
        {.name = name + ".up", .shape = {config.hidden, width}, .deviation = deviation});
    down_ = shared.parameters.add(
        {.name = name + ".down", .shape = {width, config.hidden}, .deviation = output_deviation});
}

FeedForward::Saved FeedForward::apply(MatrixView<const float> x, MatrixView<float> out, bool keep,
                                      const Context& context) const {
    return shared_.config.dtype == DType::bf16 ? run<bf16>(x, out, keep, context)
                                               : run<float>(x, out, keep, context);
}

void FeedForward::backward(MatrixView<const float> x, const Saved& saved, MatrixView<const float> dy,
                           MatrixView<float> dx, const PassInfo& pass, const Context& context) const {
    if (shared_.config.dtype == DType::bf16) {
        run_backward<bf16>(x, saved, dy, dx, pass, context);
    } else {
        run_backward<float>(x, saved, dy, dx, pass, context);
    }
}

template <class In>
FeedForward::Saved FeedForward::run(MatrixView<const float> x, MatrixView<float> out, bool keep,
                                    const Context& context) const {
    const Parameters& parameters = shared_.parameters;
    const MatrixView<const In> gate = parameters.weight<In>(gate_);
    Saved saved;
    MatrixView<const In> input;
    if constexpr (std::is_same_v<In, bf16>) {
        saved.input = Tensor(context.arena, DType::bf16, {x.rows, x.cols});
        ops::cast(x, saved.input.matrix<bf16>(), context);
        input = std::as_const(saved.input).matrix<bf16>();
    } else {
        input = x;
    }
    ops::ExpertSaved<In> kept;
    if (keep) {
        saved.gate = Tensor(context.arena, dtype_of<In>::value, {x.rows, gate.cols});
        saved.up = Tensor(context.arena, dtype_of<In>::value, {x.rows, gate.cols});
        kept = {saved.gate.matrix<In>(), saved.up.matrix<In>()};
    }
    const index_t offsets[] = {0, x.rows};
    const ops::ExpertWeights<In> weights{as_one_expert(gate), as_one_expert(parameters.weight<In>(up_)),
                                         as_one_expert(parameters.weight<In>(down_))};
    ops::expert_ffn<In>(input, weights, {offsets, {}, {}, {}}, kept, out, context);
    return saved;
}

template <class In>
void FeedForward::run_backward(MatrixView<const float> x, const Saved& saved, MatrixView<const float> dy,
                               MatrixView<float> dx, const PassInfo& pass, const Context& context) const {
    Parameters& parameters = shared_.parameters;
    MatrixView<const In> input;
    if constexpr (std::is_same_v<In, bf16>) {
        input = saved.input.matrix<bf16>();
    } else {
        input = x;
    }
    const ProductInput<In> dy_input(dy, context);
    const index_t offsets[] = {0, x.rows};
    std::vector<index_t> blocks;
    for (index_t row = 0; row <= x.rows; row += pass.seq_len) blocks.push_back(row);
    if (blocks.back() != x.rows) blocks.push_back(x.rows);
    const GradientView gate[] = {parameters.gradient(gate_)};
    const GradientView up[] = {parameters.gradient(up_)};
    const GradientView down[] = {parameters.gradient(down_)};
    const ops::ExpertWeights<In> weights{as_one_expert(parameters.weight<In>(gate_)),
                                         as_one_expert(parameters.weight<In>(up_)),
                                         as_one_expert(parameters.weight<In>(down_))};
    ops::expert_ffn_backward<In>(input, weights, {offsets, {}, {}, blocks},
                                 {saved.gate.matrix<In>(), saved.up.matrix<In>()},
                                 {dy_input.view(), dx, {}, {gate, up, down}}, context);
    for (const ParameterId id : {down_, up_, gate_}) shared_.gradient_ready(id);
}

Value& FeedForward::forward(Tape& tape, Value& x, const PassInfo& pass) const {
    const Context& context = tape.context();
    Value& y = tape.value(x.view().rows, x.view().cols);
    Saved saved = apply(x.view(), y.view(), tape.recording(), context);
    tape.record([this, &x, &y, &context, pass, saved = std::move(saved)] {
        x.grad = Tensor(context.arena, DType::f32, x.data.shape());
        backward(x.view(), saved, y.grad_view(), x.grad.matrix<float>(), pass, context);
    });
    return y;
}

}  // namespace sy::model
