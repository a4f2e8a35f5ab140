#include "model/moe/moe_layer.hpp"

#include <algorithm>
#include <numeric>
#include <optional>
#include <utility>

#include "comm/collectives.hpp"
#include "kernels/core/host_view.hpp"
#include "kernels/ops/cast/cast.hpp"
#include "kernels/ops/permute/permute.hpp"
#include "kernels/ops/reduce/reduce.hpp"
#include "model/layers/linear.hpp"
#include "model/moe/expert_dropout.hpp"
#include "model/moe/traced_rows.hpp"

namespace sy::model {

namespace {

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

/// A pass through a layer: what it decides of its tokens, and what backward needs besides.
class MoeLayer::Pass {
  public:
    Pass(const MoeLayer& layer, const PassInfo& info, const Context& context)
        : layer_(layer), info_(info), context_(context) {}

    /// @param statistics  filled; null on a replay
    /// @return  the layer's output, a value of the tape
    /// @par Collective over the world
    Value& forward(Tape& tape, Value& x, MoeStatistics* statistics) {
        decide(tape, x.ref(), statistics);
        const ConstTensorRef input = x.data;
        slot_weight_ = upload(std::span<const float>(receive().slot_weight), context_);
        Value& y = tape.value(input.rows(), input.cols());
        if (tape.recording()) {
            const Shape shape{receive().num_slots(), layer_.config_.expert_width};
            if (layer_.gate_ >= 0) gate_ = Tensor(context_.device, dtype(), shape);
            up_ = Tensor(context_.device, dtype(), shape);
        }
        if (drops_outputs()) list_dropout_rows();
        const SentRows sent(input, layer_.config_.wire, dtype(), context_);
        TracedRows arriving(transfers(), kDispatch,
                            [&] { return exchange().start_dispatch(sent.ref(), plan_); });
        // The shared experts, and experts with rows that are here already, work while the others travel.
        if (layer_.shared_experts_) {
            const TraceSpan computing = span(TraceKind::compute, "shared experts");
            shared_ = layer_.shared_experts_->apply(input, y.data, tape.recording(), context_);
        }
        SlotResults results(exchange(), plan_, input.cols(), layer_.config_.wire, context_);
        std::optional<TracedRows> returning;
        for (const comm::SlotChunk& chunk : receive().chunks) {
            if (!chunk.near) rows_ = arriving.wait();
            run_experts(chunk, rows_.empty() ? arriving.near_rows() : std::as_const(rows_), results);
            if (!chunk.near) returning.emplace(transfers(), kReturn, [&] { return results.start_return(); });
        }
        combine(*returning, "combine", y.data);
        return y;
    }

    /// Adds to the gradients of x and of all parameters of the layer.
    /// @par Collective over the world
    void backward(Value& x, Value& y) {
        Parameters& parameters = layer_.shared_.parameters;
        const ConstTensorRef dy = y.grad_ref();
        Tensor dx(context_.device, DType::f32, x.data.shape());
        Tensor dweight(context_.device, DType::f32, {receive().num_slots()});
        ExpertSums sums{{}, {}, {}, dweight};
        for (index_t l = 0; l < parameters.num_local(layer_.up_); ++l) {
            if (layer_.gate_ >= 0) sums.gate.push_back(parameters.gradient(layer_.gate_, l));
            sums.up.push_back(parameters.gradient(layer_.up_, l));
            sums.down.push_back(parameters.gradient(layer_.down_, l));
        }
        backward_through_experts(x.data, dy, sums, dx);
        Tensor dweight_tk(context_.device, DType::f32, routing_.weight.shape());
        {
            const TraceSpan returning = span(TraceKind::communication, "return of weights' gradients");
            exchange().return_scalars(dweight, plan_, dweight_tk);
        }
        backward_through_router(x.ref(), std::move(dweight_tk), dx);
        x.add_gradient(std::move(dx), context_);
    }

  private:
    /// Where gradients of a pass through the experts go.
    struct ExpertSums {
        std::vector<GradientRef> gate, up, down;  ///< [L]
        TensorRef dweight;                        ///< [S]
    };
    /// What the products of backward read.
    struct SlotOperands {
        SlotRows x;
        SlotRows dy;
    };

    DType dtype() const { return layer_.shared_.config.dtype; }
    comm::Exchange& exchange() const { return layer_.world_.exchange; }
    const comm::ReceivePlan& receive() const { return plan_.receive; }
    TransferTrace transfers() const { return {exchange(), layer_.world_.trace, layer_.layer_idx_}; }
    TraceSpan span(TraceKind kind, const char* name) const {
        return {layer_.world_.trace, kind, name, layer_.layer_idx_};
    }
    bool drops_outputs() const { return info_.training() && layer_.config_.expert_dropout > 0.0; }

    /// Choices, who keeps a slot, and the plan of the exchange.
    void decide(const Tape& tape, ConstTensorRef x, MoeStatistics* statistics) {
        comm::Communicator& world = layer_.world_.world;
        {
            const TraceSpan routing = span(TraceKind::compute, "router");
            routing_ = layer_.router_.route(x, info_, context_);
        }
        const bool reads_sums = tape.recording() && layer_.gradients_need_sums();
        Tensor sums;
        if (statistics != nullptr || reads_sums)
            sums = loss_sums(layer_.losses_, {routing_, info_, context_});
        const ReadChoices decision(routing_, info_, layer_.config_, reads_sums ? sums : ConstTensorRef(),
                                   context_);
        {
            const TraceSpan limiting = span(TraceKind::communication, "capacity");
            capacity_ = apply_capacity({decision.expert(), decision.score(), info_}, layer_.config_, world);
            if (statistics != nullptr) {
                report(decision, *statistics);
                statistics->loss_sums = std::move(sums);
            }
            if (reads_sums) {
                global_sums_ = ops::exact_sums(decision.sums());
                comm::all_reduce(world, std::span<ExactSum>(global_sums_));
            }
        }
        const TraceSpan planning = span(TraceKind::communication, "exchange plan");
        plan_ = exchange().plan(decision.exchanged(capacity_.kept, info_),
                                layer_.shared_.parameters.placement(layer_.layer_idx_), return_rows(context_),
                                comm::SlotChunks::by_arrival);
    }

    /// Fills the statistics but for the sums, and lists what was decided where that is wanted.
    void report(const ReadChoices& decision, MoeStatistics& statistics) const {
        statistics.load = capacity_.load;
        statistics.num_dropped = capacity_.num_dropped;
        statistics.routing_hash = Tensor(context_.device, DType::i64, {1});
        ops::routing_hash(routing_.sent(), capacity_.kept, layer_.layer_idx_, info_.batch.first_token,
                          statistics.routing_hash, context_);
        if (!info_.training()) return;
        if (layer_.world_.drops != nullptr) list_drops(decision, *layer_.world_.drops);
        RoutingLog* const log = layer_.world_.routing;
        if (log != nullptr && log->open) log_routing(decision, *log);
    }

    void list_drops(const ReadChoices& decision, DropLedger& drops) const {
        const auto expert = host<const std::int32_t>(decision.expert());
        const BatchInfo& batch = info_.batch;
        for (std::size_t i = 0; i < capacity_.reason.size(); ++i) {
            if (capacity_.reason[i] == DropReason::none) continue;
            const auto place = static_cast<index_t>(i);
            drops.push_back({batch.step, batch.micro_step, batch.first_token + place / expert.cols,
                             narrow<std::int32_t>(layer_.layer_idx_),
                             narrow<std::int32_t>(place % expert.cols), expert.data[i], capacity_.reason[i]});
        }
    }

    void log_routing(const ReadChoices& decision, RoutingLog& log) const {
        const auto expert = host_values<const std::int32_t>(decision.expert());
        const auto weight = host_values<const float>(decision.weight());
        log.records.push_back({info_.batch.micro_step,
                               layer_.layer_idx_,
                               decision.expert().rows(),
                               decision.expert().cols(),
                               {expert.begin(), expert.end()},
                               {weight.begin(), weight.end()},
                               capacity_.kept});
    }

    void list_dropout_rows() {
        const ModelWorld& world = layer_.world_;
        SY_REQUIRE(world.expert_group != nullptr, "moe: expert dropout needs the ranks of the exchange");
        const Parameters& parameters = layer_.shared_.parameters;
        const auto local = parameters.placement(layer_.layer_idx_).experts_of(parameters.group_rank());
        dropout_rows_ =
            expert_dropout_rows(receive(), info_, local, layer_.config_.experts, *world.expert_group);
    }

    ops::DropoutRows output_dropout(Range slots) const {
        return {info_.random(layer_.layer_idx_, RandomPurpose::expert_dropout),
                static_cast<float>(layer_.config_.expert_dropout),
                part(std::span<const index_t>(dropout_rows_), slots),
                {}};
    }

    /// Rows of a chunk through this rank's experts.
    void run_experts(const comm::SlotChunk& chunk, ConstTensorRef rows, SlotResults& results) {
        const TraceSpan computing = span(TraceKind::compute, "experts");
        const TensorRef outputs = results.values().rows_of(chunk.slots);
        const SlotRows slots = slot_rows(rows, part<const std::int32_t>(receive().slot_row, chunk.slots),
                                         outputs.cols(), dtype(), context_);
        ops::expert_ffn(
            slots.x, layer_.expert_weights(),
            {chunk.experts, slots.row, std::as_const(slot_weight_).ref().cols_of(chunk.slots), {}},
            {slots_of(gate_, chunk.slots), slots_of(up_, chunk.slots)}, outputs, context_);
        if (drops_outputs()) ops::dropout_rows(outputs, output_dropout(chunk.slots), outputs, context_);
        results.written(chunk.slots);
    }

    void combine(TracedRows& returning, const char* name, TensorRef y) const {
        const TraceSpan combining = span(TraceKind::compute, name);
        comm::combine_returned(returning.wait(), plan_,
                               layer_.shared_experts_ ? Write::add : Write::overwrite, y, context_);
    }

    SlotOperands backward_operands(Range slots, ConstTensorRef dy_rows) const {
        const auto row = part<const std::int32_t>(receive().slot_row, slots);
        const index_t width = layer_.shared_.config.hidden;
        SlotOperands operands{slot_rows(rows_, row, width, dtype(), context_),
                              slot_rows(dy_rows, row, width, dtype(), context_)};
        SlotRows& dy = operands.dy;
        if (drops_outputs()) {
            // The mask differs between the slots of a row, and so do their gradients.
            Tensor masked(context_.device, dtype(), {slots.size(), width});
            ops::DropoutRows rows = output_dropout(slots);
            rows.source = dy.row;
            ops::dropout_rows(dy.x, rows, masked, context_);
            dy.own = std::move(masked);
            dy.x = dy.own;
            dy.row = {};
        }
        // The products read both by one list.
        if (operands.x.row.empty()) dy.spread(context_);
        if (dy.row.empty()) operands.x.spread(context_);
        return operands;
    }

    /// @param dx_ready  called when dx is complete, before the gradients of the weights are computed
    void run_experts_backward(const comm::SlotChunk& chunk, ConstTensorRef dy_rows, const ExpertSums& sums,
                              SlotResults& dx, const std::function<void()>& dx_ready) const {
        const TraceSpan computing = span(TraceKind::compute, "experts backward");
        const Range slots = chunk.slots;
        const SlotOperands operands = backward_operands(slots, dy_rows);
        std::vector<index_t> blocks;
        if (context_.numerics == NumericsMode::reproducible)
            blocks = sequence_blocks(receive(), chunk, info_.seq_len);
        ops::expert_ffn_backward(operands.x.x, layer_.expert_weights(),
                                 {chunk.experts, operands.x.row, slot_weight_.ref().cols_of(slots), blocks},
                                 {slots_of(gate_, slots), slots_of(up_, slots)},
                                 {operands.dy.x,
                                  dx.values().rows_of(slots),
                                  sums.dweight.cols_of(slots),
                                  {sums.gate, sums.up, sums.down},
                                  [&] {
                                      dx.written(slots);
                                      dx_ready();
                                  }},
                                 context_);
    }

    /// Overwrites dx with what comes through routed and shared experts.
    void backward_through_experts(ConstTensorRef x, ConstTensorRef dy, const ExpertSums& sums, TensorRef dx) {
        const SentRows sent(dy, gradient_wire(layer_.config_.wire), dtype(), context_);
        TracedRows arriving(transfers(), kDispatchGradients,
                            [&] { return exchange().start_dispatch(sent.ref(), plan_); });
        if (layer_.shared_experts_) {
            const TraceSpan computing = span(TraceKind::compute, "shared experts backward");
            layer_.shared_experts_->backward(x, shared_, dy, dx, info_, context_);
        }
        SlotResults results(exchange(), plan_, dy.cols(), layer_.config_.wire, context_);
        Tensor dy_rows;
        std::optional<TracedRows> returning;
        for (const comm::SlotChunk& chunk : receive().chunks) {
            if (!chunk.near) dy_rows = arriving.wait();
            const ConstTensorRef rows = dy_rows.empty() ? arriving.near_rows() : std::as_const(dy_rows);
            // While dx travels, the gradients of the weights are computed.
            run_experts_backward(chunk, rows, sums, results, [&] {
                if (!chunk.near)
                    returning.emplace(transfers(), kReturnGradients, [&] { return results.start_return(); });
            });
        }
        // Their reduction may begin while dx travels.
        layer_.shared_.gradients_ready({layer_.down_, layer_.up_, layer_.gate_});
        combine(*returning, "combine backward", dx);
    }

    /// Adds to dx what comes through the router. @param dweight  [T, K] gradients of the weights
    void backward_through_router(ConstTensorRef x, Tensor dweight, TensorRef dx) const {
        const TraceSpan routing = span(TraceKind::compute, "router backward");
        RouterGradients gradients;
        gradients.weight = std::move(dweight);
        add_loss_gradients(layer_.losses_, {routing_, info_, context_},
                           {capacity_.load, global_sums_, info_.batch.global_tokens},
                           1.0 / static_cast<double>(info_.batch.accumulation), gradients);
        layer_.router_.strategy().add_gradient(x, routing_, info_, gradients, context_);
        Tensor dinput(context_.device, DType::f32, {x.rows(), x.cols()});
        layer_.router_.backward(x, routing_, gradients, info_, dinput, context_);
        ops::add(dinput, dx, context_);
    }

    const MoeLayer& layer_;
    PassInfo info_;
    const Context& context_;
    Routing routing_;
    CapacityResult capacity_;
    std::vector<ExactSum> global_sums_;  ///< of the losses, if a gradient needs them
    comm::DispatchPlan plan_;
    Tensor slot_weight_;  ///< [S] f32, the plan's, where experts read them
    Tensor rows_;         ///< [R, ...] received, as they travelled
    Tensor gate_, up_;    ///< [S, F]
    SharedExperts::Saved shared_;
    std::vector<index_t> dropout_rows_;  ///< [S] of the outputs in their random stream
};

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

ops::ExpertWeights MoeLayer::expert_weights() const {
    const Parameters& parameters = shared_.parameters;
    return {.gate = parameters.expert_weight(gate_),
            .up = parameters.expert_weight(up_),
            .down = parameters.expert_weight(down_),
            .activation = shared_.config.activation};
}

bool MoeLayer::gradients_need_sums() const {
    return std::ranges::any_of(losses_, [](const auto& loss) { return loss->gradient_needs_sums(); });
}

Value& MoeLayer::forward(Tape& tape, Value& x, const PassInfo& pass, MoeStatistics* statistics) const {
    Pass run(*this, pass, tape.context());
    Value& y = run.forward(tape, x, statistics);
    tape.record([&x, &y, run = std::move(run)]() mutable { run.backward(x, y); });
    return y;
}

const char* MoeLayer::host_decision() const {
    if (shared_.parameters.placement(layer_idx_).num_ranks() > 1)
        return "experts are on several ranks, between which the host plans the exchange of rows";
    if (!router_.strategy().uses_logits()) return "the router chooses by a table of token ids on the host";
    return nullptr;
}

Value& MoeLayer::extend(Tape& tape, Value& x, const PassInfo& pass) const {
    const Context& context = tape.context();
    const DType dtype = shared_.config.dtype;
    const ConstTensorRef input = x.data;
    Value& y = tape.value(input.rows(), input.cols());
    if (input.rows() == 0) return y;
    const Routing routing = router_.route(x.ref(), pass, context);
    const ConstTensorRef expert = routing.sent();
    // Each token is its own row, and its results are those of its choices, in their order.
    std::vector<std::int32_t> rows(static_cast<std::size_t>(input.rows()));
    std::iota(rows.begin(), rows.end(), 0);
    const SentRows sent(input, config_.wire, dtype, context);
    const SlotRows read = slot_rows(sent.ref(), rows, input.cols(), dtype, context);
    Tensor results(context.device, DType::f32, {expert.num_elements(), input.cols()});
    ops::chosen_expert_ffn(read.x, expert_weights(), {expert, routing.weight}, results, context);
    Tensor rounded;
    if (config_.wire != WireFormat::f32) {
        rounded = Tensor(context.device, DType::bf16, results.shape());
        ops::cast(results, rounded, context);
    }
    if (shared_experts_) shared_experts_->apply(input, y.data, false, context);
    std::vector<index_t> offsets;
    for (index_t token = 0; token <= expert.rows(); ++token) offsets.push_back(token * expert.cols());
    std::vector<std::int32_t> sources(static_cast<std::size_t>(expert.num_elements()));
    std::iota(sources.begin(), sources.end(), 0);
    ops::sum_rows(rounded.empty() ? results : rounded, offsets, sources,
                  shared_experts_ ? Write::add : Write::overwrite, y.data, context);
    return y;
}

}  // namespace sy::model
