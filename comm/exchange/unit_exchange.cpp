#include "comm/exchange/unit_exchange.hpp"

#include <algorithm>
#include <utility>

#include "comm/ring.hpp"
#include "kernels/core/host_values.hpp"
#include "kernels/core/host_view.hpp"
#include "kernels/ops/permute/permute.hpp"

namespace sy::comm {
namespace {

template <class Bytes>
Bytes part_of_rows(Bytes bytes, Range rows, index_t row_bytes) {
    return bytes.subspan(static_cast<std::size_t>(rows.begin * row_bytes),
                         static_cast<std::size_t>(rows.size() * row_bytes));
}

/// What ranks of a unit write down together while they plan: counts [P, 1 + M] and what comes back to each member [M],
/// or records and their places.
template <class T>
std::span<T> values_in(Buffer& buffer, index_t offset_bytes, index_t count) {
    return {reinterpret_cast<T*>(buffer.data() + offset_bytes), static_cast<std::size_t>(count)};
}

/// Where a range is once `own`, which does not meet it, is left out.
Range without(Range range, Range own) {
    return range.end <= own.begin ? range : Range{range.begin - own.size(), range.end - own.size()};
}

}  // namespace

UnitExchange::UnitExchange(ExchangeKind kind, Communicator& group, const Topology& topology,
                           const RowMemory& rows, DeviceMessages* devices, const Context& context)
    : group_(group),
      context_(context),
      rows_(rows),
      devices_(devices),
      units_(kind, topology),
      memory_(group, units_, rows),
      has_network_(units_.num_units() > 1 && topology.num_nodes() > 1),
      unit_(units_.unit_of(group.rank())),
      member_(units_.member_number(group.rank())),
      num_members_(static_cast<index_t>(units_.members_of(unit_).size())),
      queued_(memory_, num_members_, context) {
    for_ring(group_, [&](int source, int destination) {
        if (is_remote(source) && units_.gateway(source, unit_) == rank()) sources_.push_back(source);
        const int unit = units_.unit_of(destination);
        if (is_remote(destination) && units_.gateway(rank(), unit) == destination)
            gateways_.push_back(destination);
    });
}

DispatchPlan UnitExchange::plan(const Choices& choices, const Placement& placement, ReturnRows return_rows,
                                SlotChunks chunks) {
    const BlockingTime blocking(group_, times_.plan);
    DispatchPlan plan;
    plan.return_rows = return_rows;
    plan.send = make_send_plan(choices, placement, units_, rank());
    const Announced announced = exchange_counts(plan.send, return_rows);
    const UnitCounts& counts = announced.counts;
    const index_t num_records = counts.num_records();
    const index_t record_bytes = num_records * index_t{sizeof(SlotRecord)};
    Buffer shared = memory_.allocate(record_bytes + num_records * index_t{sizeof(std::int32_t)});
    const std::span<SlotRecord> records = values_in<SlotRecord>(shared, 0, num_records);
    const std::span<std::int32_t> places = values_in<std::int32_t>(shared, record_bytes, num_records);
    queued_.meet("room for slot records");
    exchange_records(plan.send, counts, records);
    plan_unit({announced.table, counts, std::span<const SlotRecord>(records), places}, placement, chunks,
              plan);
    return plan;
}

void UnitExchange::plan_unit(const Agreed& agreed, const Placement& placement, SlotChunks chunks,
                             DispatchPlan& plan) {
    const UnitCounts& counts = agreed.counts;
    plan.receive = make_receive_plan(counts, agreed.records, placement, units_, rank(), planned(chunks));
    write_places(plan.receive, counts, agreed.places);
    queued_.meet("places of slots");
    const std::span<const std::int32_t> all_places = agreed.places;
    plan.gateway = make_gateway_plan(counts, agreed.records, all_places, units_, rank());
    plan.back = make_return_plan(plan.send, counts, all_places, units_, rank(), plan.return_rows);
}

void UnitExchange::gather(ConstTensorRef from, PerRowSpan<const std::int32_t> rows, TensorRef to) const {
    if (!rows.empty())
        ops::gather_rows(from, {rows.data(), static_cast<std::size_t>(rows.size())}, to, context_);
}

Tensor UnitExchange::gather_for_others(ConstTensorRef x, const SendPlan& send) const {
    const Range own = send.row_offsets[unit_];
    const PerRowSpan<const std::int32_t> tokens = send.row_token;
    Tensor staging = rows_.tensor(x.dtype(), {send.num_rows() - own.size(), x.cols()});
    gather(x, tokens.part({0, own.begin}), staging.ref().rows_of({0, own.begin}));
    gather(x, tokens.part({own.end, send.num_rows()}),
           staging.ref().rows_of({own.begin, send.num_rows() - own.size()}));
    return staging;
}

Range UnitExchange::staged_for(const SendPlan& send, int gateway) const {
    return without(send.row_offsets[units_.unit_of(gateway)], send.row_offsets[unit_]);
}

void UnitExchange::send_to_gateways(RowMessages& messages, const Tensor& staging, const SendPlan& send) {
    const index_t row_bytes = staging.ref().cols() * dtype_bytes(staging.dtype());
    for (const int gateway : gateways_) {
        const Range rows = staged_for(send, gateway);
        messages.send(staging.ref().rows_of(rows), gateway);
        count_sent(gateway, rows.size(), row_bytes);
    }
    traffic_.network_bound += send.least_network_rows * row_bytes;
}

PendingRows UnitExchange::start_dispatch(ConstTensorRef x, const DispatchPlan& plan) {
    check_tokens(x, plan);
    const ExposedTime exposed(group_, times_.dispatch, false);
    Tensor rows = allocate(x.dtype(), {plan.receive.num_rows(), x.cols()}, plan.most.rows);
    const UnitMemory::Phase may_write = queued_.arrive();
    Tensor staging = gather_for_others(x, plan.send);
    queued_.wait(may_write, "room for rows");
    RowMessages messages = row_messages();
    for (const int source : sources_)
        receive_rows(messages, rows.ref().rows_of(plan.receive.row_offsets[source]), source);
    send_to_gateways(messages, staging, plan.send);
    const auto flight = start(std::move(messages), "dispatch of rows", times_.dispatch, true);
    const Range own = plan.send.row_offsets[unit_];
    gather(x, PerRowSpan<const std::int32_t>(plan.send.row_token).part(own),
           rows.ref().rows_of(plan.receive.row_offsets[rank()]));
    flight->near_is_written();
    count_own(plan.back.rows_of_others, own.size(), x.cols() * dtype_bytes(x.dtype()));
    return PendingRows(std::move(rows), std::move(staging), flight);
}

Tensor UnitExchange::allocate(DType dtype, Shape shape, index_t /*most_rows*/) {
    return memory_.allocate(dtype, shape);
}

Tensor UnitExchange::make_results(const DispatchPlan& plan, index_t width, DType dtype) {
    const ExposedTime exposed(group_, times_.back, false);
    Tensor results = allocate(dtype, {plan.back.num_results, width}, plan.most.results);
    queued_.meet("room for results");
    return results;
}

Tensor UnitExchange::sum_for_sources(const Tensor& results, const DispatchPlan& plan) const {
    Tensor staging = rows_.tensor(results.dtype(), {returned_to_sources(plan).total(), results.ref().cols()});
    if (plan.return_rows == ReturnRows::per_unit) {
        ops::sum_rows(results, plan.gateway.row_slot_offsets, plan.gateway.row_slots, Write::overwrite,
                      staging, context_);
    } else {
        ops::gather_rows(results, plan.gateway.slot_of_record, staging, context_);
    }
    return staging;
}

const RankOffsets& UnitExchange::returned_to_sources(const DispatchPlan& plan) const {
    return plan.return_rows == ReturnRows::per_unit ? plan.gateway.row_offsets : plan.gateway.slot_offsets;
}

Range UnitExchange::returned_from(const DispatchPlan& plan, int gateway) const {
    const int unit = units_.unit_of(gateway);
    const Range back = plan.return_rows == ReturnRows::per_unit
                           ? without(plan.send.row_offsets[unit], plan.send.row_offsets[unit_])
                           : without(plan.send.slots_to(units_, unit), plan.send.slots_to(units_, unit_));
    return {plan.back.returned.begin + back.begin, plan.back.returned.begin + back.end};
}

void UnitExchange::check_tokens(ConstTensorRef x, const DispatchPlan& plan) {
    SY_REQUIRE(x.rows() == plan.num_tokens(), "exchange: ", x.rows(), " tokens for a plan of ",
               plan.num_tokens());
}

void UnitExchange::check_results(const Tensor& results, const DispatchPlan& plan) {
    const index_t num_results = std::max(plan.back.num_results, plan.most.results);
    SY_REQUIRE(results.ref().rows() == num_results, "exchange: ", results.ref().rows(), " results of ",
               num_results);
}

PendingRows UnitExchange::start_return(Tensor results, const DispatchPlan& plan) {
    const ExposedTime exposed(group_, times_.back, false);
    check_results(results, plan);
    queued_.meet("results of a node");
    Tensor staging = sum_for_sources(results, plan);
    RowMessages messages = row_messages();
    for (const int gateway : gateways_)
        receive_rows(messages, results.ref().rows_of(returned_from(plan, gateway)), gateway);
    send_to_sources(messages, staging, plan);
    const index_t row_bytes = results.ref().cols() * dtype_bytes(results.dtype());
    count_own(plan.back.slots_of_others, plan.send.slots_to(units_, unit_).size(), row_bytes);
    // Slots of near chunks may still be computed.
    const bool meets = plan.receive.chunks.size() > 1;
    const auto flight = start(std::move(messages), "return of rows", times_.back, meets);
    return PendingRows(std::move(results), std::move(staging), flight);
}

void UnitExchange::send_to_sources(RowMessages& messages, const Tensor& staging, const DispatchPlan& plan) {
    const index_t row_bytes = staging.ref().cols() * dtype_bytes(staging.dtype());
    const RankOffsets& offsets = returned_to_sources(plan);
    for (const int source : sources_) {
        messages.send(staging.ref().rows_of(offsets[source]), source);
        count_sent(source, offsets[source].size(), row_bytes);
    }
    traffic_.network_bound += plan.send.least_network_rows * row_bytes;
}

Buffer UnitExchange::scalars_of_unit(PerSlotSpan<const float> slot_values, const DispatchPlan& plan) {
    const index_t num_slots = plan.back.num_slots_of_unit;
    Buffer shared = memory_.allocate(num_slots * index_t{sizeof(float)});
    queued_.meet("room for weight gradients");
    std::ranges::copy(slot_values, values_in<float>(shared, 0, num_slots).begin() + plan.back.slots.begin);
    queued_.meet("weight gradients of a node");
    return shared;
}

void UnitExchange::return_scalars(ConstTensorRef values, const DispatchPlan& plan, TensorRef choices) {
    const HostValues read(HostRead::messages, {values}, context_);
    const PerSlotSpan<const float> slot_values = host_values<const float>(read[0]);
    const index_t num_choices = plan.back.slot_of_choice.size();
    SY_REQUIRE(slot_values.size() == plan.receive.num_slots() && choices.rows() == plan.num_tokens() &&
                   choices.num_elements() == num_choices,
               "exchange: ", slot_values.size(), " scalars of ", plan.receive.num_slots(), " slots into [",
               choices.rows(), ", ", choices.cols(), "] for ", num_choices, " choices of ", plan.num_tokens(),
               " tokens");
    const BlockingTime blocking(group_, times_.plan);
    const index_t num_slots = plan.back.num_slots_of_unit;
    Buffer held = scalars_of_unit(slot_values, plan);
    const std::span<float> of_unit = values_in<float>(held, 0, num_slots);
    Indexed<RecordAxis, float> staging(plan.gateway.slot_of_record.size());
    for (index_t i = 0; i < staging.size(); ++i)
        staging[i] = of_unit[static_cast<std::size_t>(plan.gateway.slot_of_record[i])];
    const Range own = plan.send.slots_to(units_, unit_);
    Indexed<RecordAxis, float> back(plan.send.num_slots() - own.size());
    HostMessages messages(group_, next_tag());
    constexpr index_t kBytes = sizeof(float);
    for (const int gateway : gateways_) {
        const Range to = without(plan.send.slots_to(units_, units_.unit_of(gateway)), own);
        messages.receive(part_of_rows(std::as_writable_bytes(std::span<float>(back)), to, kBytes), gateway);
    }
    for (const int source : sources_) {
        const Range of_source = plan.gateway.slot_offsets[source];
        messages.send(part_of_rows(std::as_bytes(std::span<const float>(staging)), of_source, kBytes),
                      source);
        traffic_.metadata += of_source.size() * kBytes;
    }
    messages.start("return of weight gradients").wait();
    std::vector<float> of_choices;
    for (const index_t slot : plan.back.slot_of_choice)
        of_choices.push_back(slot < 0           ? 0.0F
                             : slot < num_slots ? of_unit[static_cast<std::size_t>(slot)]
                                                : back[slot - num_slots]);
    const MatrixView<const float> made(of_choices.data(), choices.rows(), choices.cols());
    context_.device.upload(made, choices, context_.stream);
}

void UnitExchange::poll() {
    group_.poll();
    // Their times end when they are seen to be complete.
    std::erase_if(flights_, [](const std::weak_ptr<Flight>& weak) {
        const std::shared_ptr<Flight> flight = weak.lock();
        return flight == nullptr || flight->test();
    });
}

/// Receives rows of this unit's memory, or of the device's.
void UnitExchange::receive_rows(RowMessages& messages, TensorRef rows, int source) const {
    if (queued_.is_shared()) {
        messages.receive(host_bytes(rows), source);
    } else {
        messages.receive(rows, source);
    }
}

std::shared_ptr<UnitFlight> UnitExchange::start(RowMessages messages, const char* doing, PhaseTime& time,
                                                bool meets) {
    messages.start();
    auto flight = std::make_shared<UnitFlight>(std::move(messages), doing, group_, queued_, meets, time);
    flights_.push_back(flight);
    return flight;
}

/// What every rank sends to this unit and what comes back to its members.
UnitExchange::Announced UnitExchange::exchange_counts(const SendPlan& send, ReturnRows return_rows) {
    const index_t width = 1 + num_members_;
    const index_t table_size = group_.size() * width;
    Buffer shared = memory_.allocate((table_size + num_members_) * index_t{sizeof(index_t)});
    const std::span<index_t> numbers = values_in<index_t>(shared, 0, table_size);
    const std::span<index_t> returned =
        values_in<index_t>(shared, table_size * index_t{sizeof(index_t)}, num_members_);
    queued_.meet("room for counts");
    HostMessages messages(group_, next_tag());
    const auto row_of = [&](int source) {
        return part<index_t>(numbers, {source * width, (source + 1) * width});
    };
    for (const int source : sources_) messages.receive(std::as_writable_bytes(row_of(source)), source);
    std::vector<std::vector<index_t>> to_gateways;
    for (const int gateway : gateways_) {
        to_gateways.push_back(counts_for(send, units_.unit_of(gateway)));
        const std::span<const index_t> sent = to_gateways.back();
        messages.send(std::as_bytes(sent), gateway);
        traffic_.metadata += static_cast<index_t>(sent.size_bytes());
    }
    std::ranges::copy(counts_for(send, unit_), row_of(rank()).begin());
    returned[static_cast<std::size_t>(member_)] = num_returned(send, units_, rank(), return_rows);
    messages.start("exchange of counts").wait();
    queued_.meet("counts of a node");
    const MatrixView<const index_t> table(numbers.data(), group_.size(), width);
    return {std::move(shared), table, UnitCounts(table, returned, member_)};
}

/// Rows to a unit, then slots to each of its members.
std::vector<index_t> UnitExchange::counts_for(const SendPlan& send, int unit) const {
    std::vector<index_t> numbers{send.row_offsets[unit].size()};
    const Range places = units_.places_of(unit);
    for (index_t place = places.begin; place < places.end; ++place)
        numbers.push_back(send.slot_offsets[place].size());
    return numbers;
}

void UnitExchange::exchange_records(const SendPlan& send, const UnitCounts& counts,
                                    std::span<SlotRecord> records) {
    constexpr index_t kBytes = sizeof(SlotRecord);
    HostMessages messages(group_, next_tag());
    for (const int source : sources_)
        messages.receive(std::as_writable_bytes(part(records, counts.records(source))), source);
    for (const int gateway : gateways_) {
        const Range slots = send.slots_to(units_, units_.unit_of(gateway));
        messages.send(std::as_bytes(part<const SlotRecord>(send.slots, slots)), gateway);
        traffic_.metadata += slots.size() * kBytes;
    }
    const std::span<const SlotRecord> own = part<const SlotRecord>(send.slots, send.slots_to(units_, unit_));
    std::ranges::copy(own, part(records, counts.records(rank())).begin());
    messages.start("exchange of slot records").wait();
    queued_.meet("slot records of a node");
}

/// Tells the other members where this rank's slots will be among the results.
void UnitExchange::write_places(const ReceivePlan& receive, const UnitCounts& counts,
                                std::span<std::int32_t> places) const {
    const auto first = static_cast<std::int32_t>(counts.slots_of(member_).begin);
    index_t record = 0;
    for (int source = 0; source < group_.size(); ++source)
        for (std::int32_t& place : part(places, counts.own_records(source)))
            place = first + receive.slot_of_record[record++];
}

void UnitExchange::count_sent(int destination, index_t rows, index_t row_bytes) {
    (units_.on_one_node(rank(), destination) ? traffic_.node : traffic_.network) +=
        Traffic{rows, rows * row_bytes};
}

void UnitExchange::count_own(index_t of_others, index_t all, index_t row_bytes) {
    traffic_.node += Traffic{of_others, of_others * row_bytes};
    traffic_.rank += Traffic{all - of_others, (all - of_others) * row_bytes};
}

}  // namespace sy::comm
