#include <algorithm>
#include <cstring>
#include <utility>

#include "comm/exchange/exchange.hpp"
#include "comm/exchange/one_sided_transport.hpp"
#include "comm/exchange/unit_flight.hpp"
#include "comm/ring.hpp"
#include "comm/shared/unit_memory.hpp"
#include "kernels/core/host_values.hpp"
#include "kernels/core/host_view.hpp"
#include "kernels/ops/permute/permute.hpp"

namespace sy::comm {
namespace {

/// Messages of the host between a rank and the gateways of other units.
class Messages {
  public:
    Messages(Communicator& group, int tag) : group_(group), tag_(tag) {}
    // Empty parts send no message. Receives are started first: what arrives has its place.
    void receive(std::span<std::byte> bytes, int source) {
        if (!bytes.empty()) requests_.push_back(group_.receive(bytes, source, tag_));
    }
    void send(std::span<const std::byte> bytes, int destination) {
        if (!bytes.empty()) requests_.push_back(group_.send(bytes, destination, tag_));
    }
    PendingExchange start(const char* doing) { return PendingExchange(group_, std::move(requests_), doing); }

  private:
    Communicator& group_;
    int tag_;
    std::vector<std::unique_ptr<Request>> requests_;
};

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

class UnitExchange : public Exchange {
  public:
    /// @param rows  where rows are that travel, of units of one rank
    UnitExchange(ExchangeKind kind, Communicator& group, const Topology& topology, const RowMemory& rows,
                 const Context& context)
        : group_(group),
          context_(context),
          rows_(rows),
          devices_(kind == ExchangeKind::flat ? device_messages(group) : nullptr),
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

    DispatchPlan plan(const Choices& choices, const Placement& placement, ReturnRows return_rows,
                      SlotChunks chunks) override {
        const BlockingTime blocking(group_, times_.plan);
        DispatchPlan plan;
        plan.return_rows = return_rows;
        plan.send = make_send_plan(choices, placement, units_, rank());
        const UnitCounts counts = exchange_counts(plan.send, return_rows);
        const index_t num_records = counts.num_records();
        const index_t record_bytes = num_records * index_t{sizeof(SlotRecord)};
        Buffer shared = memory_.allocate(record_bytes + num_records * index_t{sizeof(std::int32_t)});
        const std::span<SlotRecord> records = values_in<SlotRecord>(shared, 0, num_records);
        const std::span<std::int32_t> places = values_in<std::int32_t>(shared, record_bytes, num_records);
        queued_.meet("room for slot records");
        exchange_records(plan.send, counts, records);
        plan.receive = make_receive_plan(counts, std::span<const SlotRecord>(records), placement, units_,
                                         rank(), has_network_ ? chunks : SlotChunks::one);
        write_places(plan.receive, counts, places);
        queued_.meet("places of slots");
        const std::span<const std::int32_t> all_places = places;
        plan.gateway =
            make_gateway_plan(counts, std::span<const SlotRecord>(records), all_places, units_, rank());
        plan.back = make_return_plan(plan.send, counts, all_places, units_, rank(), return_rows);
        return plan;
    }

    PendingRows start_dispatch(ConstTensorRef x, const DispatchPlan& plan) override {
        SY_REQUIRE(x.rows() == plan.num_tokens(), "exchange: ", x.rows(), " tokens for a plan of ",
                   plan.num_tokens());
        const ExposedTime exposed(group_, times_.dispatch, false);
        Tensor rows = memory_.allocate(x.dtype(), {plan.receive.num_rows(), x.cols()});
        const UnitMemory::Phase may_write = queued_.arrive();
        const Range own = plan.send.row_offsets[unit_];
        const index_t num_remote = plan.send.num_rows() - own.size();
        Tensor staging = rows_.tensor(x.dtype(), {num_remote, x.cols()});
        const auto gather = [&](Range from, TensorRef to) {
            if (from.size() > 0)
                ops::gather_rows(x, part<const std::int32_t>(plan.send.row_token, from), to, context_);
        };
        gather({0, own.begin}, staging.ref().rows_of({0, own.begin}));
        gather({own.end, plan.send.num_rows()}, staging.ref().rows_of({own.begin, num_remote}));
        queued_.wait(may_write, "room for rows");
        const index_t row_bytes = x.cols() * dtype_bytes(x.dtype());
        RowMessages messages(group_, next_tag(), devices_, context_);
        for (const int source : sources_)
            receive_rows(messages, rows.ref().rows_of(plan.receive.row_offsets[source]), source);
        for (const int gateway : gateways_) {
            const Range to_unit = plan.send.row_offsets[units_.unit_of(gateway)];
            const Range staged = to_unit.end <= own.begin
                                     ? to_unit
                                     : Range{to_unit.begin - own.size(), to_unit.end - own.size()};
            messages.send(staging.ref().rows_of(staged), gateway);
            count_sent(gateway, to_unit.size(), row_bytes);
        }
        const auto flight = start(std::move(messages), "dispatch of rows", times_.dispatch, true);
        gather(own, rows.ref().rows_of(plan.receive.row_offsets[rank()]));
        flight->near_is_written();
        count_own(plan.back.rows_of_others, own.size(), row_bytes);
        traffic_.network_bound += plan.send.least_network_rows * row_bytes;
        return PendingRows(std::move(rows), std::move(staging), flight);
    }

    Tensor make_results(const DispatchPlan& plan, index_t width, DType dtype) override {
        const ExposedTime exposed(group_, times_.back, false);
        Tensor results = memory_.allocate(dtype, {plan.back.num_results, width});
        queued_.meet("room for results");
        return results;
    }

    PendingRows start_return(Tensor results, const DispatchPlan& plan) override {
        const ExposedTime exposed(group_, times_.back, false);
        const index_t width = results.ref().cols();
        SY_REQUIRE(results.ref().rows() == plan.back.num_results, "exchange: ", results.ref().rows(),
                   " results of ", plan.back.num_results);
        queued_.meet("results of a node");
        const bool per_unit = plan.return_rows == ReturnRows::per_unit;
        const RankOffsets& offsets = per_unit ? plan.gateway.row_offsets : plan.gateway.slot_offsets;
        Tensor staging = rows_.tensor(results.dtype(), {offsets.total(), width});
        if (per_unit) {
            ops::sum_rows(results, plan.gateway.row_slot_offsets, plan.gateway.row_slots, Write::overwrite,
                          staging, context_);
        } else {
            ops::gather_rows(results, plan.gateway.slot_of_record, staging, context_);
        }
        const index_t row_bytes = width * dtype_bytes(results.dtype());
        RowMessages messages(group_, next_tag(), devices_, context_);
        const Range own_rows = plan.send.row_offsets[unit_];
        const Range own_slots = plan.send.slots_to(units_, unit_);
        for (const int gateway : gateways_) {
            const int unit = units_.unit_of(gateway);
            Range back = per_unit ? plan.send.row_offsets[unit] : plan.send.slots_to(units_, unit);
            const Range own = per_unit ? own_rows : own_slots;
            const index_t shift = plan.back.returned.begin - (back.end <= own.begin ? 0 : own.size());
            receive_rows(messages, results.ref().rows_of({back.begin + shift, back.end + shift}), gateway);
        }
        for (const int source : sources_) {
            messages.send(staging.ref().rows_of(offsets[source]), source);
            count_sent(source, offsets[source].size(), row_bytes);
        }
        count_own(plan.back.slots_of_others, own_slots.size(), row_bytes);
        traffic_.network_bound += plan.send.least_network_rows * row_bytes;
        // Slots of near chunks may still be computed.
        const bool meets = plan.receive.chunks.size() > 1;
        const auto flight = start(std::move(messages), "return of rows", times_.back, meets);
        return PendingRows(std::move(results), std::move(staging), flight);
    }

    void return_scalars(ConstTensorRef values, const DispatchPlan& plan, TensorRef choices) override {
        const HostValues read(HostRead::messages, {values}, context_);
        const PerSlotSpan<const float> slot_values = host_values<const float>(read[0]);
        const index_t num_choices = plan.back.slot_of_choice.size();
        SY_REQUIRE(slot_values.size() == plan.receive.num_slots() && choices.rows() == plan.num_tokens() &&
                       choices.num_elements() == num_choices,
                   "exchange: ", slot_values.size(), " scalars of ", plan.receive.num_slots(),
                   " slots into [", choices.rows(), ", ", choices.cols(), "] for ", num_choices,
                   " choices of ", plan.num_tokens(), " tokens");
        const BlockingTime blocking(group_, times_.plan);
        const index_t num_slots = plan.back.num_slots_of_unit;
        Buffer shared = memory_.allocate(num_slots * index_t{sizeof(float)});
        const std::span<float> of_unit = values_in<float>(shared, 0, num_slots);
        queued_.meet("room for weight gradients");
        std::copy(slot_values.begin(), slot_values.end(), of_unit.begin() + plan.back.slots.begin);
        queued_.meet("weight gradients of a node");
        Indexed<RecordAxis, float> staging(plan.gateway.slot_of_record.size());
        for (index_t i = 0; i < staging.size(); ++i)
            staging[i] = of_unit[static_cast<std::size_t>(plan.gateway.slot_of_record[i])];
        const Range own = plan.send.slots_to(units_, unit_);
        Indexed<RecordAxis, float> back(plan.send.num_slots() - own.size());
        Messages messages(group_, next_tag());
        constexpr index_t kBytes = sizeof(float);
        for (const int gateway : gateways_) {
            const Range to = plan.send.slots_to(units_, units_.unit_of(gateway));
            const index_t shift = to.end <= own.begin ? 0 : own.size();
            messages.receive(part_of_rows(std::as_writable_bytes(std::span<float>(back)),
                                          {to.begin - shift, to.end - shift}, kBytes),
                             gateway);
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

    void poll() override {
        group_.poll();
        // Their times end when they are seen to be complete.
        std::erase_if(flights_, [](const std::weak_ptr<Flight>& weak) {
            const std::shared_ptr<Flight> flight = weak.lock();
            return flight == nullptr || flight->test();
        });
    }
    void close() override {}

    ExchangeTraffic traffic() const override { return traffic_; }
    ExchangeTimes times() const override { return times_; }
    index_t reachable_bytes() const override { return memory_.reserved_bytes(); }

  private:
    int rank() const { return group_.rank(); }
    bool is_remote(int other) const { return units_.unit_of(other) != unit_; }
    /// Tags go round, so that exchanges under way at the same time never meet.
    int next_tag() { return tag_ = tag_ % 1000 + 1; }

    /// Receives rows of this unit's memory, or of the device's.
    void receive_rows(RowMessages& messages, TensorRef rows, int source) const {
        if (queued_.is_shared()) {
            messages.receive(host_bytes(rows), source);
        } else {
            messages.receive(rows, source);
        }
    }

    std::shared_ptr<UnitFlight> start(RowMessages messages, const char* doing, PhaseTime& time, bool meets) {
        messages.start();
        auto flight = std::make_shared<UnitFlight>(std::move(messages), doing, group_, queued_, meets, time);
        flights_.push_back(flight);
        return flight;
    }

    /// What every rank sends to this unit and what comes back to its members.
    UnitCounts exchange_counts(const SendPlan& send, ReturnRows return_rows) {
        const index_t width = 1 + num_members_;
        const index_t table_size = group_.size() * width;
        Buffer shared = memory_.allocate((table_size + num_members_) * index_t{sizeof(index_t)});
        const std::span<index_t> table = values_in<index_t>(shared, 0, table_size);
        const std::span<index_t> returned =
            values_in<index_t>(shared, table_size * index_t{sizeof(index_t)}, num_members_);
        queued_.meet("room for counts");
        Messages messages(group_, next_tag());
        const auto row_of = [&](int source) {
            return part<index_t>(table, {source * width, (source + 1) * width});
        };
        for (const int source : sources_) messages.receive(std::as_writable_bytes(row_of(source)), source);
        std::vector<std::vector<index_t>> to_gateways;
        for (const int gateway : gateways_) {
            to_gateways.push_back(counts_for(send, units_.unit_of(gateway)));
            const std::span<const index_t> numbers = to_gateways.back();
            messages.send(std::as_bytes(numbers), gateway);
            traffic_.metadata += static_cast<index_t>(numbers.size_bytes());
        }
        std::ranges::copy(counts_for(send, unit_), row_of(rank()).begin());
        returned[static_cast<std::size_t>(member_)] = num_returned(send, units_, rank(), return_rows);
        messages.start("exchange of counts").wait();
        queued_.meet("counts of a node");
        return UnitCounts(MatrixView<const index_t>(table.data(), group_.size(), width), returned, member_);
    }

    /// Rows to a unit, then slots to each of its members.
    std::vector<index_t> counts_for(const SendPlan& send, int unit) const {
        std::vector<index_t> numbers{send.row_offsets[unit].size()};
        const Range places = units_.places_of(unit);
        for (index_t place = places.begin; place < places.end; ++place)
            numbers.push_back(send.slot_offsets[place].size());
        return numbers;
    }

    void exchange_records(const SendPlan& send, const UnitCounts& counts, std::span<SlotRecord> records) {
        constexpr index_t kBytes = sizeof(SlotRecord);
        Messages messages(group_, next_tag());
        for (const int source : sources_)
            messages.receive(std::as_writable_bytes(part(records, counts.records(source))), source);
        for (const int gateway : gateways_) {
            const Range slots = send.slots_to(units_, units_.unit_of(gateway));
            messages.send(std::as_bytes(part<const SlotRecord>(send.slots, slots)), gateway);
            traffic_.metadata += slots.size() * kBytes;
        }
        const std::span<const SlotRecord> own =
            part<const SlotRecord>(send.slots, send.slots_to(units_, unit_));
        std::ranges::copy(own, part(records, counts.records(rank())).begin());
        messages.start("exchange of slot records").wait();
        queued_.meet("slot records of a node");
    }

    /// Tells the other members where this rank's slots will be among the results.
    void write_places(const ReceivePlan& receive, const UnitCounts& counts,
                      std::span<std::int32_t> places) const {
        const auto first = static_cast<std::int32_t>(counts.slots_of(member_).begin);
        index_t record = 0;
        for (int source = 0; source < group_.size(); ++source)
            for (std::int32_t& place : part(places, counts.own_records(source)))
                place = first + receive.slot_of_record[record++];
    }

    void count_sent(int destination, index_t rows, index_t row_bytes) {
        (units_.on_one_node(rank(), destination) ? traffic_.node : traffic_.network) +=
            Traffic{rows, rows * row_bytes};
    }
    void count_own(index_t of_others, index_t all, index_t row_bytes) {
        traffic_.node += Traffic{of_others, of_others * row_bytes};
        traffic_.rank += Traffic{all - of_others, (all - of_others) * row_bytes};
    }

    Communicator& group_;
    const Context& context_;
    RowMemory rows_;
    DeviceMessages* devices_;  ///< null where rows go through the host's memory, as those of shared units do
    Units units_;
    UnitMemory memory_;
    bool has_network_;  ///< rows to some other units cross it
    int unit_;
    int member_;
    index_t num_members_;
    QueuedUnitMemory queued_;
    std::vector<int> sources_;   ///< ranks of other units that send to their units through this one
    std::vector<int> gateways_;  ///< where this rank sends what other units get
    int tag_ = 0;
    ExchangeTraffic traffic_;
    ExchangeTimes times_;
    std::vector<std::weak_ptr<Flight>> flights_;
};

/// The flat exchange over UCX, which puts rows into memory that their senders can reach.
class OneSidedExchange : private OneSidedTransport, public UnitExchange {
  public:
    OneSidedExchange(Communicator& group, const Topology& topology, const Context& context)
        : OneSidedTransport(group),
          UnitExchange(ExchangeKind::flat, puts(), topology, {context.device, &reachable()}, context) {}
    void close() override { puts().close(); }
    double waited_seconds() const override { return OneSidedTransport::waited_seconds(); }
    index_t reachable_bytes() const override { return OneSidedTransport::reachable_bytes(); }
};

}  // namespace

bool has_exchange(ExchangeKind kind) {
    return kind != ExchangeKind::one_sided || ucx_available();
}

std::unique_ptr<Exchange> make_exchange(ExchangeKind kind, Communicator& group, const Topology& topology,
                                        const Context& context) {
    SY_REQUIRE(topology.num_ranks() == group.size(), "exchange: a topology of ", topology.num_ranks(),
               " ranks for a group of ", group.size());
    if (kind == ExchangeKind::one_sided) return std::make_unique<OneSidedExchange>(group, topology, context);
    return std::make_unique<UnitExchange>(kind, group, topology, context.device, context);
}

}  // namespace sy::comm
