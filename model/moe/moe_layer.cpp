#include "model/moe/moe_layer.hpp"

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "comm/collectives.hpp"
#include "kernels/core/host_view.hpp"
#include "kernels/ops/permute/permute.hpp"
#include "kernels/ops/reduce/reduce.hpp"
#include "model/layers/linear.hpp"
#include "model/moe/expert_dropout.hpp"
#include "model/moe/traced_rows.hpp"

namespace sy::model {

/// Everything a pass keeps for backward.
struct MoeLayer::Kept {
    PassInfo pass;
    Routing routing;
    CapacityResult capacity;
    std::vector<ExactSum> global_sums;  ///< of the losses, if a gradient needs them
    comm::DispatchPlan plan;
    Tensor slot_weight;  ///< [S] f32, the plan's, where experts read them
    Tensor rows;         ///< [R, ...] received, as they travelled
    Tensor gate, up;     ///< [S, F]
    SharedExperts::Saved shared;
    std::vector<index_t> dropout_rows;  ///< [S] of the outputs in their random stream
};

namespace {

std::size_t at(index_t i) {
    return static_cast<std::size_t>(i);
}

/// Slots of one expert and one source sequence form a block: fixed pieces of the global batch. Counted from the chunk's
/// first slot.
std::vector<index_t> sequence_blocks(const comm::ReceivePlan& plan, const comm::SlotChunk& chunk,
                                     index_t seq_len) {
    std::vector<index_t> blocks;
    for (index_t expert = 0; expert < chunk.experts.num_groups(); ++expert) {
        const Range slots = chunk.experts[expert];
        for (index_t i = slots.begin; i < slots.end; ++i) {
            const index_t s = chunk.slots.begin + i;
            const bool starts = i == slots.begin || plan.slot_source[s] != plan.slot_source[s - 1] ||
                                plan.slot_token[s] / seq_len != plan.slot_token[s - 1] / seq_len;
            if (starts) blocks.push_back(i);
        }
    }
    blocks.push_back(chunk.slots.size());
    return blocks;
}

/// The part of what is kept for slots; nothing where nothing is kept.
TensorRef slots_of(Tensor& kept, Range slots) {
    return kept.empty() ? TensorRef() : kept.ref().rows_of(slots);
}
ConstTensorRef slots_of(const Tensor& kept, Range slots) {
    return kept.empty() ? ConstTensorRef() : kept.ref().rows_of(slots);
}

}  // namespace

MoeLayer::MoeLayer(LayerContext& shared, const MoeConfig& config, const ModelWorld& world,
                   const LayerKey& key)
    : shared_(shared),
      config_(config),
      world_(world),
      layer_idx_(key.block),
      router_(shared, config, key, world.world),
      losses_(make_router_losses(config)) {
    const LayerKey experts{key.stack, key.block, Part::experts};
    gate_ = shared.parameters.find({experts, Role::gate});
    up_ = shared.parameters.id({experts, Role::up});
    down_ = shared.parameters.id({experts, Role::down});
    if (config.shared_experts > 0)
        shared_experts_.emplace(shared, LayerKey{key.stack, key.block, Part::shared_experts});
}

TransferTrace MoeLayer::transfers() const {
    return {world_.exchange, world_.trace, layer_idx_};
}

ops::ExpertWeights MoeLayer::expert_weights() const {
    const Parameters& parameters = shared_.parameters;
    return {.gate = gate_ < 0 ? ConstTensorRef() : parameters.expert_weight(gate_),
            .up = parameters.expert_weight(up_),
            .down = parameters.expert_weight(down_),
            .activation = shared_.config.activation};
}

void MoeLayer::list_drops(const Kept& kept, const ReadChoices& decision) const {
    const auto expert = host<const std::int32_t>(decision.expert());
    const BatchInfo& batch = kept.pass.batch;
    for (std::size_t i = 0; i < kept.capacity.reason.size(); ++i) {
        if (kept.capacity.reason[i] == DropReason::none) continue;
        const auto place = static_cast<index_t>(i);
        world_.drops->push_back({batch.step, batch.micro_step, batch.first_token + place / expert.cols,
                                 narrow<std::int32_t>(layer_idx_), narrow<std::int32_t>(place % expert.cols),
                                 expert.data[i], kept.capacity.reason[i]});
    }
}

void MoeLayer::log_routing(const Kept& kept, const ReadChoices& decision) const {
    const auto expert = host<const std::int32_t>(decision.expert());
    const auto weight = host<const float>(decision.weight());
    const auto values = [](const auto& matrix) {
        return std::vector(matrix.data, matrix.data + matrix.rows * matrix.cols);
    };
    world_.routing->records.push_back({kept.pass.batch.micro_step, layer_idx_, expert.rows, expert.cols,
                                       values(expert), values(weight), kept.capacity.kept});
}

void MoeLayer::report(const Kept& kept, const ReadChoices& decision, MoeStatistics& statistics,
                      const Context& context) const {
    statistics.load = kept.capacity.load;
    statistics.num_dropped = kept.capacity.num_dropped;
    statistics.routing_hash = Tensor(context.device, DType::i64, {1});
    ops::routing_hash(kept.routing.sent(), kept.capacity.kept, layer_idx_, kept.pass.batch.first_token,
                      statistics.routing_hash, context);
    if (!kept.pass.training()) return;
    if (world_.drops != nullptr) list_drops(kept, decision);
    if (world_.routing != nullptr && world_.routing->open) log_routing(kept, decision);
}

bool MoeLayer::gradients_need_sums() const {
    return std::ranges::any_of(losses_, [](const auto& loss) { return loss->gradient_needs_sums(); });
}

ops::DropoutRows MoeLayer::output_dropout(const Kept& kept, Range slots) const {
    return {kept.pass.random(layer_idx_, RandomPurpose::expert_dropout),
            static_cast<float>(config_.expert_dropout),
            part(std::span<const index_t>(kept.dropout_rows), slots),
            {}};
}

void MoeLayer::run_experts(Kept& kept, const comm::SlotChunk& chunk, ConstTensorRef rows,
                           SlotResults& results, const Context& context) const {
    const TraceSpan computing = span(TraceKind::compute, "experts");
    const comm::ReceivePlan& receive = kept.plan.receive;
    const TensorRef outputs = results.values().rows_of(chunk.slots);
    const SlotRows slots = slot_rows(rows, part<const std::int32_t>(receive.slot_row, chunk.slots),
                                     outputs.cols(), shared_.config.dtype, context);
    ops::expert_ffn(
        slots.x, expert_weights(),
        {chunk.experts, slots.row, std::as_const(kept.slot_weight).ref().cols_of(chunk.slots), {}},
        {slots_of(kept.gate, chunk.slots), slots_of(kept.up, chunk.slots)}, outputs, context);
    if (drops_outputs(kept.pass))
        ops::dropout_rows(outputs, output_dropout(kept, chunk.slots), outputs, context);
    results.written(chunk.slots);
}

comm::DispatchPlan MoeLayer::plan_exchange(const Kept& kept, const ReadChoices& decision,
                                           const Context& context) const {
    const TraceSpan planning = span(TraceKind::communication, "exchange plan");
    const comm::ReturnRows grouping =
        context.numerics == NumericsMode::fast ? comm::ReturnRows::per_unit : comm::ReturnRows::per_choice;
    const ConstTensorRef expert = decision.expert();
    const MatrixView<const std::uint8_t> choice_kept(kept.capacity.kept.data(), expert.rows(), expert.cols());
    const comm::Choices choices{.expert = HostRef(expert),
                                .weight = HostRef(decision.weight()),
                                .kept = choice_kept,
                                .first_token = kept.pass.batch.first_token,
                                .seq_len = kept.pass.seq_len};
    return world_.exchange.plan(choices, shared_.parameters.placement(layer_idx_), grouping,
                                comm::SlotChunks::by_arrival);
}

Value& MoeLayer::forward(Tape& tape, Value& x, const PassInfo& pass, MoeStatistics* statistics) const {
    const Context& context = tape.context();
    const DType dtype = shared_.config.dtype;
    const ConstTensorRef input = x.data;
    Kept kept;
    kept.pass = pass;
    {
        const TraceSpan routing = span(TraceKind::compute, "router");
        kept.routing = router_.route(x.ref(), pass, context);
    }
    const bool reads_sums = tape.recording() && gradients_need_sums();
    Tensor sums;
    if (statistics != nullptr || reads_sums) {
        sums = Tensor(context.device, DType::i64, {num_loss_sums(losses_), index_t{ExactSum::kNumWords}});
        loss_sums(losses_, {kept.routing, {}, pass, context}, sums);
    }
    const ReadChoices decision(kept.routing, pass, config_, reads_sums ? sums : ConstTensorRef(), context);
    {
        const TraceSpan limiting = span(TraceKind::communication, "capacity");
        kept.capacity = apply_capacity({decision.expert(), decision.score(), pass}, config_, world_.world);
        if (statistics != nullptr) {
            report(kept, decision, *statistics, context);
            statistics->loss_sums = std::move(sums);
        }
        if (reads_sums) {
            kept.global_sums = ops::exact_sums(decision.sums());
            comm::all_reduce(world_.world, std::span<ExactSum>(kept.global_sums));
        }
    }
    kept.plan = plan_exchange(kept, decision, context);
    const comm::ReceivePlan& receive = kept.plan.receive;
    kept.slot_weight = upload(std::span<const float>(receive.slot_weight), context);
    Value& y = tape.value(input.rows(), input.cols());
    if (tape.recording()) {
        const Shape shape{receive.num_slots(), config_.expert_width};
        if (gate_ >= 0) kept.gate = Tensor(context.device, dtype, shape);
        kept.up = Tensor(context.device, dtype, shape);
    }
    if (drops_outputs(pass)) {
        SY_REQUIRE(world_.expert_group != nullptr, "moe: expert dropout needs the ranks of the exchange");
        const Parameters& parameters = shared_.parameters;
        const auto local = parameters.placement(layer_idx_).experts_of(parameters.group_rank());
        kept.dropout_rows = expert_dropout_rows(receive, pass, local, config_.experts, *world_.expert_group);
    }
    {
        const SentRows sent(input, config_.wire, dtype, context);
        TracedRows arriving(transfers(), kDispatch,
                            [&] { return world_.exchange.start_dispatch(sent.ref(), kept.plan); });
        // The shared experts, and experts with rows that are here already, work while the others travel.
        if (shared_experts_) {
            const TraceSpan computing = span(TraceKind::compute, "shared experts");
            kept.shared = shared_experts_->apply(input, y.data, tape.recording(), context);
        }
        SlotResults results(world_.exchange, kept.plan, input.cols(), config_.wire, context);
        std::optional<TracedRows> returning;
        for (const comm::SlotChunk& chunk : receive.chunks) {
            if (!chunk.near) kept.rows = arriving.wait();
            const ConstTensorRef rows = kept.rows.empty() ? arriving.near_rows() : std::as_const(kept.rows);
            run_experts(kept, chunk, rows, results, context);
            if (!chunk.near) returning.emplace(transfers(), kReturn, [&] { return results.start_return(); });
        }
        const TraceSpan combining = span(TraceKind::compute, "combine");
        comm::combine_returned(returning->wait(), kept.plan, shared_experts_ ? Write::add : Write::overwrite,
                               y.data, context);
    }
    tape.record(
        [this, &x, &y, &context, kept = std::move(kept)]() mutable { run_backward(x, y, kept, context); });
    return y;
}

/// What the products of backward read.
struct MoeLayer::SlotOperands {
    SlotRows x;
    SlotRows dy;
};

MoeLayer::SlotOperands MoeLayer::backward_operands(const Kept& kept, Range slots, ConstTensorRef dy_rows,
                                                   const Context& context) const {
    const auto row = part<const std::int32_t>(kept.plan.receive.slot_row, slots);
    const index_t width = shared_.config.hidden;
    const DType dtype = shared_.config.dtype;
    SlotOperands operands{slot_rows(kept.rows, row, width, dtype, context),
                          slot_rows(dy_rows, row, width, dtype, context)};
    SlotRows& dy = operands.dy;
    if (drops_outputs(kept.pass)) {
        // The mask differs between the slots of a row, and so do their gradients.
        Tensor masked(context.device, dtype, {slots.size(), width});
        ops::DropoutRows rows = output_dropout(kept, slots);
        rows.source = dy.row;
        ops::dropout_rows(dy.x, rows, masked, context);
        dy.own = std::move(masked);
        dy.x = dy.own;
        dy.row = {};
    }
    // The products read both by one list.
    if (operands.x.row.empty()) dy.spread(context);
    if (dy.row.empty()) operands.x.spread(context);
    return operands;
}

/// Where gradients of a pass through the experts go.
struct MoeLayer::ExpertSums {
    std::vector<GradientRef> gate, up, down;  ///< [L]
    TensorRef dweight;                        ///< [S]
};

void MoeLayer::run_experts_backward(const Kept& kept, const comm::SlotChunk& chunk, ConstTensorRef dy_rows,
                                    const ExpertSums& sums, SlotResults& dx, const Context& context,
                                    const std::function<void()>& dx_ready) const {
    const TraceSpan computing = span(TraceKind::compute, "experts backward");
    const comm::ReceivePlan& receive = kept.plan.receive;
    const Range slots = chunk.slots;
    const SlotOperands operands = backward_operands(kept, slots, dy_rows, context);
    std::vector<index_t> blocks;
    if (context.numerics == NumericsMode::reproducible)
        blocks = sequence_blocks(receive, chunk, kept.pass.seq_len);
    ops::expert_ffn_backward(operands.x.x, expert_weights(),
                             {chunk.experts, operands.x.row, kept.slot_weight.ref().cols_of(slots), blocks},
                             {slots_of(kept.gate, slots), slots_of(kept.up, slots)},
                             {operands.dy.x,
                              dx.values().rows_of(slots),
                              sums.dweight.cols_of(slots),
                              {sums.gate, sums.up, sums.down},
                              [&] {
                                  dx.written(slots);
                                  dx_ready();
                              }},
                             context);
}

void MoeLayer::run_backward(Value& x, Value& y, Kept& kept, const Context& context) const {
    Parameters& parameters = shared_.parameters;
    const ConstTensorRef dy = y.grad_ref();
    const comm::ReceivePlan& receive = kept.plan.receive;
    Tensor dx(context.device, DType::f32, x.data.shape());
    Tensor dweight(context.device, DType::f32, {receive.num_slots()});
    ExpertSums sums{{}, {}, {}, dweight};
    for (index_t l = 0; l < parameters.num_local(up_); ++l) {
        if (gate_ >= 0) sums.gate.push_back(parameters.gradient(gate_, l));
        sums.up.push_back(parameters.gradient(up_, l));
        sums.down.push_back(parameters.gradient(down_, l));
    }
    {
        const SentRows sent(dy, gradient_wire(config_.wire), shared_.config.dtype, context);
        TracedRows arriving(transfers(), kDispatchGradients,
                            [&] { return world_.exchange.start_dispatch(sent.ref(), kept.plan); });
        if (shared_experts_) {
            const TraceSpan computing = span(TraceKind::compute, "shared experts backward");
            shared_experts_->backward(x.data, kept.shared, dy, dx, kept.pass, context);
        }
        SlotResults results(world_.exchange, kept.plan, dy.cols(), config_.wire, context);
        Tensor dy_rows;
        std::optional<TracedRows> returning;
        for (const comm::SlotChunk& chunk : receive.chunks) {
            if (!chunk.near) dy_rows = arriving.wait();
            const ConstTensorRef rows = dy_rows.empty() ? arriving.near_rows() : std::as_const(dy_rows);
            // While dx travels, the gradients of the weights are computed.
            run_experts_backward(kept, chunk, rows, sums, results, context, [&] {
                if (!chunk.near)
                    returning.emplace(transfers(), kReturnGradients, [&] { return results.start_return(); });
            });
        }
        // Their reduction may begin while dx travels.
        for (const ParameterId id : {down_, up_, gate_})
            if (id >= 0) shared_.gradient_ready(id);
        const TraceSpan combining = span(TraceKind::compute, "combine backward");
        comm::combine_returned(returning->wait(), kept.plan, shared_experts_ ? Write::add : Write::overwrite,
                               dx, context);
    }
    Tensor dweight_tk(context.device, DType::f32, kept.routing.weight.shape());
    {
        const TraceSpan returning = span(TraceKind::communication, "return of weights' gradients");
        world_.exchange.return_scalars(dweight, kept.plan, dweight_tk);
    }
    route_backward(x, kept, std::move(dweight_tk), dx, context);
    x.add_gradient(std::move(dx), context);
}

void MoeLayer::route_backward(Value& x, Kept& kept, Tensor dweight, TensorRef dx,
                              const Context& context) const {
    const TraceSpan routing = span(TraceKind::compute, "router backward");
    RouterGradients gradients;
    gradients.weight = std::move(dweight);
    const RoutedBatch routed{kept.routing, kept.capacity.load, kept.pass, context};
    const BatchInfo& batch = kept.pass.batch;
    add_loss_gradients(losses_, routed, {kept.capacity.load, kept.global_sums, batch.global_tokens},
                       1.0 / static_cast<double>(batch.accumulation), gradients);
    router_.strategy().add_gradient(x.ref(), kept.routing, kept.pass, gradients, context);
    Tensor dinput(context.device, DType::f32, x.data.shape());
    router_.backward(x.ref(), kept.routing, gradients, kept.pass, dinput, context);
    ops::add(dinput, dx, context);
}

}  // namespace sy::model
