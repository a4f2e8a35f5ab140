#include "model/moe/router/router.hpp"

#include "kernels/ops/cast/cast.hpp"
#include "kernels/ops/copy/copy.hpp"
#include "kernels/ops/noise/noise.hpp"
#include "kernels/ops/random/random.hpp"
#include "kernels/ops/reduce/reduce.hpp"
#include "model/layers/linear.hpp"

namespace sy::model {
namespace {

ops::GateWeights weights_of(const Routing& routing, const WeightRule& rule) {
    return {routing.scores, routing.expert, rule.renormalise ? ops::Renormalise::yes : ops::Renormalise::no,
            static_cast<float>(rule.scale)};
}

/// Noisy top-k begins with equal logits and equal noise (Shazeer et al., appendix A).
void round_to_bf16(TensorRef values, const Context& context) {
    Tensor rounded(context.device, DType::bf16, {values.rows(), values.cols()});
    ops::cast(values, rounded, context);
    ops::cast(rounded, values, context);
}

void score_logits(const RoutingRule& rule, const PassInfo& pass, Routing& routing, const Context& context) {
    const MoeConfig& config = rule.config;
    const index_t tokens = routing.logits.shape()[0];
    const index_t experts = routing.logits.shape()[1];
    if (pass.training() && config.noise != LogitNoise::none && config.noise != LogitNoise::learned) {
        Tensor noise(context.device, DType::f32, routing.logits.shape());
        const auto fill = config.noise == LogitNoise::gaussian ? ops::fill_normal : ops::fill_gumbel;
        fill(pass.random(rule.layer_idx, RandomPurpose::router_noise), pass.batch.first_token * experts,
             static_cast<float>(config.noise_std), noise, context);
        ops::add(noise, routing.logits, context);
    }
    routing.score = rule.strategy.weights().score;
    routing.scores = Tensor(context.device, DType::f32, routing.logits.shape());
    routing.lse = Tensor(context.device, DType::f32, {tokens});
    ops::gate_scores(routing.score, routing.logits, routing.scores, routing.lse, context);
    if (config.router_dtype == DType::bf16) round_to_bf16(routing.scores, context);
}

}  // namespace

void route_logits(const RoutingRule& rule, const PassInfo& pass, Routing& routing, const Context& context) {
    if (!routing.logits.empty()) score_logits(rule, pass, routing, context);
    routing.expert =
        rule.strategy.choose({routing.logits, routing.scores, pass, rule.layer_idx, rule.world}, context);
    routing.weight = Tensor(context.device, DType::f32, routing.expert.shape());
    const WeightRule weight_rule = rule.strategy.weights();
    ops::GateWeights weights = weights_of(routing, weight_rule);
    if (!weight_rule.scaled_by_score) weights.scores = {};
    ops::gate_weights(weights, routing.weight, context);
    if (pass.training() && rule.config.random_second) {
        routing.dispatched = Tensor(context.device, DType::i32, routing.expert.shape());
        ops::gate_draw_second(weights.expert, routing.weight,
                              {pass.random(rule.layer_idx, RandomPurpose::second_choice),
                               pass.batch.first_token, weight_rule.scale},
                              routing.dispatched, context);
    }
}

TensorRef opened(Tensor& part, const Shape& shape, const Context& context) {
    if (part.empty()) {
        part = Tensor(context.device, DType::f32, shape);
        ops::clear(part, context);
    }
    return part;
}

Router::Router(LayerContext& shared, const MoeConfig& config, const LayerKey& key, comm::Communicator& world)
    : shared_(shared),
      config_(config),
      layer_idx_(key.block),
      world_(world),
      strategy_(make_strategy(config)),
      weight_(shared.parameters.find({key, Role::router})),
      noise_weight_(shared.parameters.find({key, Role::router_noise})) {
    strategy_->find_parameters(shared, key);
}

void Router::multiply(ConstTensorRef x, TensorRef logits, const Context& context) const {
    const ProductInput input(x, config_.router_dtype, context);
    const ProductInput weight(shared_.parameters.weight(weight_), config_.router_dtype, context);
    linear(input.ref(), weight.ref(), logits, context);
    if (config_.router_dtype == DType::bf16) round_to_bf16(logits, context);
}

void Router::compute_logits(ConstTensorRef x, const PassInfo& pass, Routing& routing,
                            const Context& context) const {
    ConstTensorRef input = x;
    if (pass.training() && config_.jitter > 0.0) {
        routing.input = Tensor(context.device, DType::f32, {x.rows(), x.cols()});
        ops::jitter(x, pass.random(layer_idx_, RandomPurpose::router_jitter), pass.batch.first_token,
                    static_cast<float>(config_.jitter), routing.input, context);
        input = routing.input;
    }
    routing.logits = Tensor(context.device, DType::f32, {x.rows(), config_.experts});
    if (pass.training() && config_.noise == LogitNoise::learned) {
        add_learned_noise(input, pass, routing, context);
    } else {
        multiply(input, routing.logits, context);
    }
}

void Router::add_learned_noise(ConstTensorRef input, const PassInfo& pass, Routing& routing,
                               const Context& context) const {
    for (Tensor* const part : {&routing.clean, &routing.noise, &routing.noise_scale})
        *part = Tensor(context.device, DType::f32, routing.logits.shape());
    multiply(input, routing.clean, context);
    linear(input, shared_.parameters.weight(noise_weight_), routing.noise_scale, context);
    ops::fill_normal(pass.random(layer_idx_, RandomPurpose::router_noise),
                     pass.batch.first_token * config_.experts, 1.0F, routing.noise, context);
    ops::learned_noise(routing.clean, routing.noise, routing.noise_scale, routing.logits, context);
}

Routing Router::route(ConstTensorRef x, const PassInfo& pass, const Context& context) const {
    Routing routing;
    if (strategy_->uses_logits()) compute_logits(x, pass, routing, context);
    route_logits({*strategy_, config_, layer_idx_, world_}, pass, routing, context);
    SY_REQUIRE(routing.expert.shape()[0] == x.rows(), "router: choices of ", routing.expert.shape()[0],
               " tokens for ", x.rows());
    return routing;
}

void Router::backward(ConstTensorRef x, const Routing& routing, const RouterGradients& gradients,
                      const PassInfo& pass, TensorRef dx, const Context& context) const {
    if (!strategy_->uses_logits()) {
        ops::fill(0.0F, dx, context);
        return;
    }
    const WeightRule rule = strategy_->weights();
    Tensor dlogits(context.device, DType::f32, routing.logits.shape());
    ops::gate_backward({rule.score, weights_of(routing, rule), routing.logits, routing.lse,
                        rule.scaled_by_score ? gradients.weight.ref() : ConstTensorRef(), gradients.share,
                        gradients.token_share, gradients.lse, gradients.logit},
                       dlogits, context);
    const bool jittered = !routing.input.empty();
    const ConstTensorRef input = jittered ? routing.input.ref() : x;
    Tensor draw;
    if (!routing.noise.empty()) {
        draw = Tensor(context.device, DType::f32, dlogits.shape());
        ops::learned_noise_backward({routing.noise, routing.noise_scale}, dlogits, gradients.noise_scale,
                                    draw, context);
    }
    // From here on the gradient of the clean logits: noise is added, so that of the logits is a part of it.
    if (!gradients.clean_logit.empty()) ops::add(gradients.clean_logit, dlogits, context);
    linear_backward({input, dlogits, shared_.parameters.weight(weight_), Write::overwrite, pass.seq_len}, dx,
                    shared_.parameters.gradient(weight_), context);
    if (!draw.empty()) {
        linear_backward({input, draw, shared_.parameters.weight(noise_weight_), Write::add, pass.seq_len}, dx,
                        shared_.parameters.gradient(noise_weight_), context);
    }
    if (jittered) {
        ops::jitter(dx, pass.random(layer_idx_, RandomPurpose::router_jitter), pass.batch.first_token,
                    static_cast<float>(config_.jitter), dx, context);
    }
    shared_.gradients_ready({noise_weight_, weight_});
}

}  // namespace sy::model
