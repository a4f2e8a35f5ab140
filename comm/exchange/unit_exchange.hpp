#pragma once

#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "comm/exchange/exchange.hpp"
#include "comm/exchange/unit_flight.hpp"
#include "comm/row_messages.hpp"
#include "comm/shared/unit_memory.hpp"

namespace sy::comm {

/// Messages of the host inside and between units.
class HostMessages {
  public:
    HostMessages(Communicator& group, int tag) : group_(group), tag_(tag) {}
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

/// The exchange between units whose ranks share memory, or are one rank each: all of them agree on counts and slot records,
/// and then send rows between units.
class UnitExchange : public Exchange {
  public:
    /// @param rows     where rows are that travel, of units of one rank
    /// @param devices  what carries rows from device to device; null: through the host's memory
    UnitExchange(ExchangeKind kind, Communicator& group, const Topology& topology, const RowMemory& rows,
                 DeviceMessages* devices, const Context& context);

    DispatchPlan plan(const Choices& choices, const Placement& placement, ReturnRows return_rows,
                      SlotChunks chunks) override;
    PendingRows start_dispatch(ConstTensorRef x, const DispatchPlan& plan) override;
    Tensor make_results(const DispatchPlan& plan, index_t width, DType dtype) override;
    PendingRows start_return(Tensor results, const DispatchPlan& plan) override;
    void return_scalars(ConstTensorRef values, const DispatchPlan& plan, TensorRef choices) override;
    void poll() override;
    void close() override {}

    ExchangeTraffic traffic() const override { return traffic_; }
    ExchangeTimes times() const override { return times_; }
    index_t reachable_bytes() const override { return memory_.reserved_bytes(); }

  protected:
    /// What all members of a unit know when they plan what each of them does.
    struct Agreed {
        MatrixView<const index_t> announced;  ///< [P, 1 + M] as UnitCounts takes it
        const UnitCounts& counts;
        IndexedSpan<RecordAxis, const SlotRecord> records;
        std::span<std::int32_t> places;  ///< of each record, which members write down for each other
    };
    /// Everything of a plan but what this rank sends. @par Waits  for the members of the unit
    virtual void plan_unit(const Agreed& agreed, const Placement& placement, SlotChunks chunks,
                           DispatchPlan& plan);
    /// Rows that others may send to this rank, and results.
    /// @param most_rows  of any rank of the group, if all have agreed; there may be as many in the result
    virtual Tensor allocate(DType dtype, Shape shape, index_t most_rows);
    /// The numbers of those slots whose results this rank holds, in their order. @par Waits  for the members of the unit
    virtual Buffer scalars_of_unit(PerSlotSpan<const float> slot_values, const DispatchPlan& plan);

    int rank() const { return group_.rank(); }
    bool is_remote(int other) const { return units_.unit_of(other) != unit_; }
    /// Tags go round, so that exchanges under way at the same time never meet.
    int next_tag() { return tag_ = tag_ % 1000 + 1; }
    RowMessages row_messages() { return {group_, next_tag(), devices_, context_}; }
    /// Chunks as they are planned: one where nothing crosses a network.
    SlotChunks planned(SlotChunks chunks) const { return has_network_ ? chunks : SlotChunks::one; }
    void gather(ConstTensorRef from, PerRowSpan<const std::int32_t> rows, TensorRef to) const;
    /// The rows of this rank's tokens that other units get, in the order of the plan.
    Tensor gather_for_others(ConstTensorRef x, const SendPlan& send) const;
    /// Where those to the unit of a gateway are among them.
    Range staged_for(const SendPlan& send, int gateway) const;
    void send_to_gateways(RowMessages& messages, const Tensor& staging, const SendPlan& send);
    /// What this rank returns for the ranks that it is the gateway of.
    Tensor sum_for_sources(const Tensor& results, const DispatchPlan& plan) const;
    const RankOffsets& returned_to_sources(const DispatchPlan& plan) const;
    void send_to_sources(RowMessages& messages, const Tensor& staging, const DispatchPlan& plan);
    /// Where results of a gateway's unit come to.
    Range returned_from(const DispatchPlan& plan, int gateway) const;
    void count_sent(int destination, index_t rows, index_t row_bytes);
    void count_own(index_t of_others, index_t all, index_t row_bytes);
    static void check_tokens(ConstTensorRef x, const DispatchPlan& plan);
    static void check_results(const Tensor& results, const DispatchPlan& plan);

    Communicator& group_;
    const Context& context_;
    RowMemory rows_;
    DeviceMessages* devices_;
    Units units_;
    UnitMemory memory_;
    bool has_network_;  ///< rows to some other units cross it
    int unit_;
    int member_;
    index_t num_members_;
    QueuedUnitMemory queued_;
    std::vector<int> sources_;   ///< ranks of other units that send to their units through this one
    std::vector<int> gateways_;  ///< where this rank sends what other units get
    ExchangeTraffic traffic_;
    ExchangeTimes times_;
    std::vector<std::weak_ptr<Flight>> flights_;

  private:
    /// What all ranks send to this unit, with the memory that its members share for it.
    struct Announced {
        Buffer shared;
        MatrixView<const index_t> table;  ///< [P, 1 + M], in `shared`
        UnitCounts counts;
    };

    void receive_rows(RowMessages& messages, TensorRef rows, int source) const;
    std::shared_ptr<UnitFlight> start(RowMessages messages, const char* doing, PhaseTime& time, bool meets);
    Announced exchange_counts(const SendPlan& send, ReturnRows return_rows);
    std::vector<index_t> counts_for(const SendPlan& send, int unit) const;
    void exchange_records(const SendPlan& send, const UnitCounts& counts, std::span<SlotRecord> records);
    void write_places(const ReceivePlan& receive, const UnitCounts& counts,
                      std::span<std::int32_t> places) const;

    int tag_ = 0;
};

}  // namespace sy::comm
