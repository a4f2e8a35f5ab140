#include "model/moe/moe_layer.hpp"

#include <algorithm>
#include <cmath>

#include "comm/collectives.hpp"
#include "kernels/ops/gemm/gemm.hpp"
#include "kernels/ops/random/random.hpp"
#include "kernels/ops/reduce/reduce.hpp"
#include "model/layers/linear.hpp"
#include "model/moe/balance.hpp"

namespace sy::model {

/// Everything a pass keeps for its way back.
struct MoeLayer::Pass {
    BatchInfo batch;
    RandomKey jitter_key;
    bool jittered = false;
    Tensor router_input;  ///< [T, H] when jittered
    Routing routing;
    CapacityResult capacity;
    comm::DispatchPlan plan;
    Tensor rows;      ///< [R, H] received
    Tensor gate, up;  ///< [S, F]
    FeedForward::Saved shared;
    std::vector<index_t> blocks;
};

namespace {

std::size_t at(index_t i) {
    return static_cast<std::size_t>(i);
}

/// A well-mixed 64-bit function of one decision (the finaliser of SplitMix64 over packed fields).
std::uint64_t hash_choice(index_t layer, index_t token, index_t choice, std::int32_t expert,
                          std::uint8_t kept) {
    std::uint64_t value = static_cast<std::uint64_t>(token) * 0x9e3779b97f4a7c15ULL;
    value ^= (static_cast<std::uint64_t>(layer) << 48) ^ (static_cast<std::uint64_t>(choice) << 40) ^
             (static_cast<std::uint64_t>(static_cast<std::uint32_t>(expert)) << 1) ^ kept;
    value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9ULL;
    value = (value ^ (value >> 27)) * 0x94d049bb133111ebULL;
    return value ^ (value >> 31);
}

/// Slots of one expert and one source sequence form a block: fixed pieces of the global batch.
std::vector<index_t> sequence_blocks(const comm::ReceivePlan& plan, index_t seq_len) {
    std::vector<index_t> blocks;
    for (std::size_t expert = 0; expert + 1 < plan.expert_offsets.size(); ++expert) {
        for (index_t s = plan.expert_offsets[expert]; s < plan.expert_offsets[expert + 1]; ++s) {
            const bool starts = s == plan.expert_offsets[expert] ||
                                plan.slot_source[at(s)] != plan.slot_source[at(s - 1)] ||
                                plan.slot_token[at(s)] / seq_len != plan.slot_token[at(s - 1)] / seq_len;
            if (starts) blocks.push_back(s);
        }
    }
    blocks.push_back(plan.num_slots());
    return blocks;
}

}  // namespace

MoeLayer::MoeLayer(LayerContext& shared, const MoeConfig& config, const ModelWorld& world, index_t layer_idx)
    : shared_(shared), config_(config), world_(world), layer_idx_(layer_idx), router_(make_router(config)) {
    const ModelConfig& model = shared.config;
    const std::string name = concat("layers.", layer_idx, ".moe");
    const auto deviation = static_cast<float>(model.init_std);
    const auto output_deviation =
        static_cast<float>(model.init_std / std::sqrt(2.0 * static_cast<double>(model.layers)));
    router_weight_ = shared.parameters.add(
        {.name = name + ".router", .shape = {model.hidden, config.experts}, .deviation = deviation});
    if (config.shared_experts > 0) {
        shared_experts_.emplace(shared, name + ".shared", config.shared_experts * config.expert_width);
    }
    const auto add = [&](const char* part, index_t rows, index_t cols, float scale) {
        return shared.parameters.add({.name = name + ".experts." + part,
                                      .shape = {config.experts, rows, cols},
                                      .sharding = Sharding::expert,
                                      .deviation = scale});
    };
    gate_ = add("gate", model.hidden, config.expert_width, deviation);
    up_ = add("up", model.hidden, config.expert_width, deviation);
    down_ = add("down", config.expert_width, model.hidden, output_deviation);
}

template <class In>
ops::ExpertWeights<In> MoeLayer::expert_weights() const {
    const Parameters& parameters = shared_.parameters;
    return {parameters.expert_weight<In>(gate_), parameters.expert_weight<In>(up_),
            parameters.expert_weight<In>(down_)};
}

void MoeLayer::route(MatrixView<const float> x, Pass& pass, const Context& context) const {
    MatrixView<const float> input = x;
    if (pass.jittered) {
        pass.router_input = Tensor(context.arena, DType::f32, {x.rows, x.cols});
        ops::jitter(x, pass.jitter_key, pass.batch.first_token, static_cast<float>(config_.jitter),
                    pass.router_input.matrix<float>(), context);
        input = std::as_const(pass.router_input).matrix<float>();
    }
    Tensor logits(context.arena, DType::f32, {x.rows, config_.experts});
    linear<float>(input, shared_.parameters.weight<float>(router_weight_), logits.matrix<float>(), context);
    pass.routing = router_->choose(logits.matrix<float>(), context);
}

void MoeLayer::report(const Pass& pass, MoeStatistics& statistics) const {
    const MatrixView<const std::int32_t> expert = pass.routing.expert.matrix<std::int32_t>();
    statistics.load = pass.capacity.load;
    statistics.num_dropped = pass.capacity.num_dropped;
    statistics.score_sums.assign(at(config_.experts), 0);
    add_score_sums(pass.routing.scores.matrix<float>(), statistics.score_sums);
    statistics.z_sum = z_loss_sum(pass.routing.lse.values<float>());
    statistics.routing_hash = 0;
    for (index_t t = 0; t < expert.rows; ++t) {
        for (index_t j = 0; j < expert.cols; ++j) {
            statistics.routing_hash += hash_choice(layer_idx_, pass.batch.first_token + t, j, expert(t, j),
                                                   pass.capacity.kept[at(t * expert.cols + j)]);
        }
    }
}

Value& MoeLayer::forward(Tape& tape, Value& x, const BatchInfo& batch, Use use, std::uint64_t seed,
                         MoeStatistics* statistics) const {
    return shared_.config.dtype == DType::bf16 ? run<bf16>(tape, x, batch, use, seed, statistics)
                                               : run<float>(tape, x, batch, use, seed, statistics);
}

template <class In>
Value& MoeLayer::run(Tape& tape, Value& x, const BatchInfo& batch, Use use, std::uint64_t seed,
                     MoeStatistics* statistics) const {
    const Context& context = tape.context();
    const MatrixView<const float> input = x.view();
    Pass pass;
    pass.batch = batch;
    pass.jittered = use == Use::train && config_.jitter > 0.0;
    const auto counter = static_cast<std::uint64_t>(batch.step * batch.accumulation + batch.micro_step);
    pass.jitter_key = {seed, counter, static_cast<std::uint32_t>(layer_idx_), RandomPurpose::router_jitter};
    route(input, pass, context);
    MoeConfig rule = config_;
    if (use == Use::generate) rule.capacity_factor = 0.0;
    const MatrixView<const std::int32_t> expert = pass.routing.expert.matrix<std::int32_t>();
    pass.capacity = apply_capacity(expert, batch.global_tokens, rule, world_.world);
    if (statistics != nullptr) report(pass, *statistics);

    const comm::ReturnRows grouping =
        context.numerics == NumericsMode::fast ? comm::ReturnRows::per_rank : comm::ReturnRows::per_choice;
    const comm::Choices choices{
        expert, pass.routing.weight.matrix<float>(), {pass.capacity.kept.data(), expert.rows, expert.cols}};
    pass.plan = world_.exchange.plan(choices, world_.placement, grouping);
    Value& y = tape.value(input.rows, input.cols);
    {
        const ProductInput<In> sent(input, context);
        comm::PendingRows arriving = world_.exchange.start_dispatch(sent.view(), pass.plan);
        // The shared experts work while the rows travel.
        if (shared_experts_) pass.shared = shared_experts_->apply(input, y.view(), tape.recording(), context);
        pass.rows = arriving.wait();
    }
    const comm::ReceivePlan& receive = pass.plan.receive;
    const ops::ExpertSlots slots{receive.expert_offsets, receive.slot_row, receive.slot_weight, {}};
    ops::ExpertSaved<In> saved;
    if (tape.recording()) {
        pass.gate = Tensor(context.arena, dtype_of<In>::value, {receive.num_slots(), config_.expert_width});
        pass.up = Tensor(context.arena, dtype_of<In>::value, {receive.num_slots(), config_.expert_width});
        saved = {pass.gate.matrix<In>(), pass.up.matrix<In>()};
    }
    Tensor outputs(context.arena, DType::f32, {receive.num_slots(), input.cols});
    ops::expert_ffn<In>(std::as_const(pass.rows).matrix<In>(), expert_weights<In>(), slots, saved,
                        outputs.matrix<float>(), context);
    Tensor returned = world_.exchange.start_return(std::as_const(outputs).matrix<float>(), pass.plan).wait();
    comm::combine_returned(std::as_const(returned).matrix<float>(), pass.plan,
                           shared_experts_ ? comm::Combine::add : comm::Combine::overwrite, y.view(),
                           context);
    tape.record([this, &x, &y, &context, pass = std::move(pass)]() mutable {
        run_backward<In>(x, y, pass, context);
    });
    return y;
}

template <class In>
void MoeLayer::run_backward(Value& x, Value& y, Pass& pass, const Context& context) const {
    Parameters& parameters = shared_.parameters;
    const MatrixView<const float> dy = y.grad_view();
    const comm::ReceivePlan& receive = pass.plan.receive;
    x.grad = Tensor(context.arena, DType::f32, x.data.shape());
    const MatrixView<float> dx = x.grad.matrix<float>();
    Tensor dy_rows;
    {
        const ProductInput<In> sent(dy, context);
        comm::PendingRows arriving = world_.exchange.start_dispatch(sent.view(), pass.plan);
        if (shared_experts_) shared_experts_->backward(x.view(), pass.shared, dy, dx, context);
        dy_rows = arriving.wait();
    }
    if (context.numerics == NumericsMode::reproducible)
        pass.blocks = sequence_blocks(receive, shared_.config.seq_len);
    std::vector<GradientView> gradients[3];
    for (index_t l = 0; l < static_cast<index_t>(parameters.local_experts().size()); ++l) {
        gradients[0].push_back(parameters.gradient(gate_, l));
        gradients[1].push_back(parameters.gradient(up_, l));
        gradients[2].push_back(parameters.gradient(down_, l));
    }
    Tensor dx_slots(context.arena, DType::f32, {receive.num_slots(), dx.cols});
    std::vector<float> dweight(at(receive.num_slots()));
    ops::expert_ffn_backward<In>(std::as_const(pass.rows).matrix<In>(), expert_weights<In>(),
                                 {receive.expert_offsets, receive.slot_row, receive.slot_weight, pass.blocks},
                                 {pass.gate.matrix<In>(), pass.up.matrix<In>()},
                                 {std::as_const(dy_rows).matrix<In>(),
                                  dx_slots.matrix<float>(),
                                  dweight,
                                  {gradients[0], gradients[1], gradients[2]}},
                                 context);
    Tensor returned = world_.exchange.start_return(std::as_const(dx_slots).matrix<float>(), pass.plan).wait();
    comm::combine_returned(std::as_const(returned).matrix<float>(), pass.plan,
                           shared_experts_ ? comm::Combine::add : comm::Combine::overwrite, dx, context);
    Tensor weight_gradient(context.arena, DType::f32, {dx.rows, config_.top_k});
    world_.exchange.return_scalars(dweight, pass.plan, weight_gradient.matrix<float>());

    const double share = 1.0 / static_cast<double>(pass.batch.accumulation);
    const std::vector<float> dscore = switch_gradient(pass.capacity.load, pass.batch.global_tokens,
                                                      config_.top_k, config_.balance_loss * share);
    const std::vector<float> dlse = z_gradient(std::as_const(pass.routing.lse).values<float>(),
                                               pass.batch.global_tokens, config_.z_loss * share);
    Tensor dlogits(context.arena, DType::f32, {dx.rows, config_.experts});
    router_->backward(pass.routing, {weight_gradient.matrix<float>(), dscore, dlse}, dlogits.matrix<float>(),
                      context);
    const MatrixView<const float> router_input =
        pass.jittered ? std::as_const(pass.router_input).matrix<float>() : MatrixView<const float>(x.view());
    Tensor dinput(context.arena, DType::f32, x.data.shape());
    linear_backward<float>({router_input, dlogits.matrix<float>(), parameters.weight<float>(router_weight_),
                            0.0F, shared_.config.seq_len},
                           dinput.matrix<float>(), parameters.gradient(router_weight_), context);
    if (pass.jittered) {
        ops::jitter(dinput.matrix<float>(), pass.jitter_key, pass.batch.first_token,
                    static_cast<float>(config_.jitter), dinput.matrix<float>(), context);
    }
    ops::add(dinput.matrix<float>(), dx, context);
    for (const ParameterId id : {down_, up_, gate_, router_weight_}) shared_.gradient_ready(id);
}

}  // namespace sy::model
