#include "comm/exchange/relayed_exchange.hpp"

#include <algorithm>
#include <functional>
#include <utility>

#include "kernels/core/host_view.hpp"

namespace sy::comm {

/// Messages between the members of a unit, with the memory that they leave from.
class RelayedExchange::Step {
  public:
    Step(RowMessages messages, Tensor staging, const char* doing)
        : messages_(std::move(messages)), staging_(std::move(staging)), doing_(doing) {}

    bool test() { return is_waited_for_ || messages_.test(); }
    /// @par Waits  as RowMessages::wait. Once
    void wait() {
        if (!std::exchange(is_waited_for_, true)) messages_.wait(doing_);
    }

  private:
    RowMessages messages_;
    Tensor staging_;
    const char* doing_;
    bool is_waited_for_ = false;
};

/// Rows on their way over the network, with what happens inside the unit meanwhile and afterwards.
class RelayedExchange::RelayedFlight : public Flight {
  public:
    struct Parts {
        RowMessages far;              ///< between units
        Tensor landed;                ///< where they arrive, if that is not the memory of the result
        std::optional<Step> near;     ///< started; what wait_near waits for
        std::function<Step()> after;  ///< starts what has to wait for `far`
    };
    RelayedFlight(Parts parts, const char* doing, const Communicator& group, PhaseTime& time)
        : parts_(std::move(parts)), doing_(doing), group_(group), time_(time) {}

    bool test() override {
        if (arrived_) return true;
        const bool near_is_here = !parts_.near || parts_.near->test();
        if (parts_.far.test() && near_is_here) arrived_ = Clock::now();
        return arrived_.has_value();
    }
    void wait() override {
        const ExposedTime exposed(group_, time_, !arrived_);
        if (parts_.near) parts_.near->wait();
        parts_.far.wait(doing_);
        parts_.after().wait();
        if (!arrived_) arrived_ = Clock::now();
        time_.total_seconds += std::chrono::duration<double>(*arrived_ - started_).count();
    }
    void wait_near() override {
        SY_REQUIRE(parts_.near.has_value(), "exchange: no rows of this unit are on their way");
        const ExposedTime exposed(group_, time_, !arrived_);
        parts_.near->wait();
    }

  private:
    Parts parts_;
    const char* doing_;
    const Communicator& group_;
    PhaseTime& time_;
    Clock::time_point started_ = Clock::now();
    std::optional<Clock::time_point> arrived_;
};

RelayedExchange::RelayedExchange(Communicator& group, const Topology& topology, const Context& context)
    : UnitExchange(ExchangeKind::hierarchical, group, topology, context.device, device_messages(group),
                   context) {}

void RelayedExchange::plan_unit(const Agreed& agreed, const Placement& placement, SlotChunks chunks,
                                DispatchPlan& plan) {
    const UnitCounts& counts = agreed.counts;
    plan.receive = make_receive_plan(counts, agreed.records, placement, units_, rank(), planned(chunks));
    // What goes on to other members is planned from their records, which each of them checks for itself.
    queued_.meet("checks of slot records");
    keep_rows_read_here(counts, agreed.records, units_, plan.receive);
    RelayedResults relayed =
        make_relay_plan(plan.send, {agreed.announced, counts, agreed.records}, plan.receive, units_, rank());
    plan.gateway = make_gateway_plan(counts, agreed.records, relayed.places, units_, rank());
    const IndexedSpan<RecordAxis, const std::int32_t> places = relayed.places;
    plan.back = make_return_plan(plan.send, relayed.layout, places.part(counts.records(rank())), units_,
                                 rank(), plan.return_rows);
    plan.relay = std::move(relayed.plan);
}

RelayedExchange::Step RelayedExchange::start_step(const Relay& relay, ConstTensorRef from, TensorRef to,
                                                  const char* doing) {
    Tensor staging(context_.device, from.dtype(), {relay.row.size(), from.cols()});
    gather(from, std::span<const std::int32_t>(relay.row), staging);
    RowMessages messages = row_messages();
    for (const Relay::Part& part : relay.received) messages.receive(to.rows_of(part.rows), part.rank);
    const index_t row_bytes = from.cols() * dtype_bytes(from.dtype());
    for (const Relay::Part& part : relay.sent) {
        messages.send(std::as_const(staging).ref().rows_of(part.rows), part.rank);
        traffic_.node += Traffic{part.rows.size(), part.rows.size() * row_bytes};
    }
    messages.start();
    const IndexedSpan<RelayAxis, const std::int32_t> kept = relay.kept_row;
    for (const Relay::Kept& part : relay.kept) {
        const auto rows = kept.part(part.rows);
        gather(from, std::span<const std::int32_t>(rows.data(), static_cast<std::size_t>(rows.size())),
               to.rows_of(part.target));
    }
    return {std::move(messages), std::move(staging), doing};
}

PendingRows RelayedExchange::start_dispatch(ConstTensorRef x, const DispatchPlan& plan) {
    check_tokens(x, plan);
    const ExposedTime exposed(group_, times_.dispatch, false);
    Tensor rows(context_.device, x.dtype(), {plan.receive.num_rows(), x.cols()});
    Tensor landed(context_.device, x.dtype(), {plan.gateway.row_offsets.total(), x.cols()});
    Tensor staging = gather_for_others(x, plan.send);
    // Those inside the unit are quick, and the first experts work on them.
    Step near = start_step(plan.relay.near_rows, x, rows, "rows inside a node");
    const index_t num_kept = plan.relay.near_rows.kept_row.size();
    traffic_.rank += Traffic{num_kept, num_kept * x.cols() * dtype_bytes(x.dtype())};
    RowMessages far = row_messages();
    for (const int source : sources_)
        far.receive(landed.ref().rows_of(plan.gateway.row_offsets[source]), source);
    send_to_gateways(far, staging, plan.send);
    far.start();
    const auto pass_on = [this, relay = plan.relay.far_rows, from = std::as_const(landed).ref(),
                          to = rows.ref()] { return start_step(relay, from, to, "rows from a gateway"); };
    auto flight = std::make_shared<RelayedFlight>(
        RelayedFlight::Parts{std::move(far), std::move(landed), std::move(near), pass_on}, "dispatch of rows",
        group_, times_.dispatch);
    flights_.push_back(flight);
    return PendingRows(std::move(rows), std::move(staging), std::move(flight));
}

Tensor RelayedExchange::make_results(const DispatchPlan& plan, index_t width, DType dtype) {
    return Tensor(context_.device, dtype, {plan.back.num_results, width});
}

PendingRows RelayedExchange::start_return(Tensor results, const DispatchPlan& plan) {
    const ExposedTime exposed(group_, times_.back, false);
    check_results(results, plan);
    const TensorRef all = results;
    start_step(plan.relay.far_results, all, all, "results for a gateway").wait();
    Tensor staging = sum_for_sources(results, plan);
    RowMessages far = row_messages();
    for (const int gateway : gateways_) far.receive(all.rows_of(returned_from(plan, gateway)), gateway);
    send_to_sources(far, staging, plan);
    far.start();
    const index_t num_own = plan.send.slots_to(units_, unit_).size() - plan.back.slots_of_others;
    traffic_.rank += Traffic{num_own, num_own * all.cols() * dtype_bytes(all.dtype())};
    // Slots of near chunks may still be computed.
    const auto bring_near = [this, relay = plan.relay.near_results, all] {
        return start_step(relay, all, all, "results inside a node");
    };
    auto flight = std::make_shared<RelayedFlight>(RelayedFlight::Parts{std::move(far), {}, {}, bring_near},
                                                  "return of rows", group_, times_.back);
    flights_.push_back(flight);
    return PendingRows(std::move(results), std::move(staging), std::move(flight));
}

Buffer RelayedExchange::scalars_of_unit(PerSlotSpan<const float> slot_values, const DispatchPlan& plan) {
    Buffer held = rows_.buffer(plan.back.num_slots_of_unit * index_t{sizeof(float)});
    const std::span<float> all(reinterpret_cast<float*>(held.data()),
                               static_cast<std::size_t>(plan.back.num_slots_of_unit));
    std::ranges::copy(slot_values, all.begin());
    std::vector<std::vector<float>> sent;  // alive until all have arrived
    HostMessages messages(group_, next_tag());
    for (const Relay* const relay : {&plan.relay.far_results, &plan.relay.near_results}) {
        for (const Relay::Part& in : relay->received)
            messages.receive(std::as_writable_bytes(part(all, in.rows)), in.rank);
    }
    for (const Relay* const relay : {&plan.relay.far_results, &plan.relay.near_results}) {
        std::vector<float>& values = sent.emplace_back();
        for (const std::int32_t slot : relay->row) values.push_back(slot_values[slot]);
        for (const Relay::Part& out : relay->sent) {
            const std::span<const float> numbers = part(std::span<const float>(values), out.rows);
            messages.send(std::as_bytes(numbers), out.rank);
            traffic_.metadata += static_cast<index_t>(numbers.size_bytes());
        }
    }
    messages.start("weight gradients inside a node").wait();
    return held;
}

}  // namespace sy::comm
