#include "model/layers/feed_forward.hpp"

#include <cmath>
#include <utility>

#include "kernels/ops/cast/cast.hpp"
#include "kernels/ops/expert_ffn/expert_ffn.hpp"
#include "model/layers/linear.hpp"

namespace sy::model {
namespace {

template <class In>
TensorView3<const In> as_one_expert(MatrixView<const In> weight) {
    return {weight.data, 1, weight.rows, weight.cols};
}

}  // namespace

FeedForward::FeedForward(LayerContext& shared, const std::string& name, const Spec& spec) : shared_(shared) {
    const ModelConfig& config = shared.config;
    const auto deviation = static_cast<float>(config.init_std);
    const auto add = [&](const char* part, index_t in, index_t out, float scale) {
        return shared.parameters.add({.name = name + "." + part, .shape = {in, out}, .deviation = scale});
    };
    const bool gated = ops::is_gated(config.activation);
    if (gated) gate_ = add("gate", config.hidden, spec.width, deviation);
    up_ = add("up", config.hidden, spec.width, deviation);
    down_ = add("down", spec.width, config.hidden, output_deviation(config));
    if (spec.bias == Bias::none) return;
    const auto add_bias = [&](const char* part, index_t size) {
        return shared.parameters.add(
            {.name = name + "." + part, .shape = {size}, .init = Init::zeros, .weight_decay = false});
    };
    if (gated) gate_bias_ = add_bias("gate_bias", spec.width);
    up_bias_ = add_bias("up_bias", spec.width);
    down_bias_ = add_bias("down_bias", config.hidden);
}

template <class In>
ops::ExpertWeights<In> FeedForward::weights() const {
    const Parameters& parameters = shared_.parameters;
    ops::ExpertWeights<In> weights{};
    weights.up = as_one_expert(parameters.weight<In>(up_));
    weights.down = as_one_expert(parameters.weight<In>(down_));
    weights.activation = shared_.config.activation;
    if (gate_ >= 0) weights.gate = as_one_expert(parameters.weight<In>(gate_));
    const auto bias = [&](ParameterId id) {
        return id < 0 ? std::span<const float>() : parameters.weight<float>(id).row_span(0);
    };
    weights.biases = {bias(gate_bias_), bias(up_bias_), bias(down_bias_)};
    return weights;
}

ops::ExpertBiasGradients FeedForward::bias_gradients() const {
    const auto gradient = [&](ParameterId id) {
        return id < 0 ? GradientView{} : shared_.parameters.gradient(id);
    };
    return {gradient(gate_bias_), gradient(up_bias_), gradient(down_bias_)};
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
    const ops::ExpertWeights<In> operands = weights<In>();
    Saved saved;
    MatrixView<const In> input;
    if constexpr (std::is_same_v<In, bf16>) {
        saved.input = Tensor(context.arena, DType::bf16, {x.rows, x.cols});
        ops::cast(x, saved.input, context);
        input = std::as_const(saved.input).matrix<bf16>();
    } else {
        input = x;
    }
    ops::ExpertSaved<In> kept;
    if (keep) {
        saved.up = Tensor(context.arena, dtype_of<In>::value, {x.rows, operands.up.cols});
        kept.up = saved.up.matrix<In>();
        if (gate_ >= 0) {
            saved.gate = Tensor(context.arena, dtype_of<In>::value, {x.rows, operands.up.cols});
            kept.gate = saved.gate.matrix<In>();
        }
    }
    const index_t offsets[] = {0, x.rows};
    ops::expert_ffn<In>(input, operands, {offsets, {}, {}, {}}, kept, out, context);
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
    const ProductInput dy_input(dy, dtype_of<In>::value, context);
    const index_t offsets[] = {0, x.rows};
    std::vector<index_t> blocks;
    for (index_t row = 0; row <= x.rows; row += pass.seq_len) blocks.push_back(row);
    if (blocks.back() != x.rows) blocks.push_back(x.rows);
    std::vector<GradientView> gate;
    if (gate_ >= 0) gate.push_back(parameters.gradient(gate_));
    const GradientView up[] = {parameters.gradient(up_)};
    const GradientView down[] = {parameters.gradient(down_)};
    ops::ExpertSaved<const In> kept{{}, saved.up.matrix<In>()};
    if (gate_ >= 0) kept.gate = saved.gate.matrix<In>();
    ops::expert_ffn_backward<In>(input, weights<In>(), {offsets, {}, {}, blocks}, kept,
                                 {host<const In>(dy_input.ref()), dx, {}, {gate, up, down, bias_gradients()}},
                                 context);
    for (const ParameterId id : {down_bias_, up_bias_, gate_bias_, down_, up_, gate_})
        if (id >= 0) shared_.gradient_ready(id);
}

Value& FeedForward::forward(Tape& tape, Value& x, const PassInfo& pass) const {
    const Context& context = tape.context();
    Value& y = tape.value(x.view().rows, x.view().cols);
    Saved saved = apply(x.view(), y.view(), tape.recording(), context);
    tape.record([this, &x, &y, &context, pass, saved = std::move(saved)] {
        Tensor dx(context.arena, DType::f32, x.data.shape());
        backward(x.view(), saved, y.grad_view(), dx.matrix<float>(), pass, context);
        x.add_gradient(std::move(dx), context);
    });
    return y;
}

}  // namespace sy::model
