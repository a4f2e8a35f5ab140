#pragma once

#include "comm/exchange/relay_plan.hpp"
#include "comm/exchange/unit_exchange.hpp"

namespace sy::comm {

/// The hierarchical exchange on devices whose memory the ranks of a node do not share: a row crosses the network once to each
/// node, to a gateway there, which sends it on to those ranks of its node whose experts read it; results go to the gateway
/// of their source, which adds them up, and rows of the own node to their rank. Counts, slot records and scalars are the
/// host's, as everywhere. In all sums the order is that of shared memory, and so are the bits.
class RelayedExchange : public UnitExchange {
  public:
    /// @param topology  of the group
    /// @param context   of a device; its rows go from device to device where the group's ranks can do that
    RelayedExchange(Communicator& group, const Topology& topology, const Context& context);

    PendingRows start_dispatch(ConstTensorRef x, const DispatchPlan& plan) override;
    Tensor make_results(const DispatchPlan& plan, index_t width, DType dtype) override;
    PendingRows start_return(Tensor results, const DispatchPlan& plan) override;

  protected:
    void plan_unit(const Agreed& agreed, const Placement& placement, SlotChunks chunks,
                   DispatchPlan& plan) override;
    Buffer scalars_of_unit(PerSlotSpan<const float> slot_values, const DispatchPlan& plan) override;

  private:
    class Step;
    class RelayedFlight;

    /// Starts one step of a relay: gathers what is sent and what is kept.
    Step start_step(const Relay& relay, ConstTensorRef from, TensorRef to, const char* doing);
};

}  // namespace sy::comm
