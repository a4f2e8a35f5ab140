#pragma once

#include <memory>
#include <utility>

#include "comm/collectives.hpp"
#include "comm/exchange_kind.hpp"
#include "comm/exchange/return_plan.hpp"
#include "comm/exchange/traffic.hpp"
#include "kernels/core/context.hpp"
#include "kernels/core/tensor.hpp"
#include "kernels/core/write.hpp"

namespace sy::comm {

/// Messages of a started dispatch or return.
class Flight {
  public:
    virtual ~Flight() = default;
    /// Makes progress without blocking; true when this rank's messages are complete.
    virtual bool test() = 0;
    /// @par Waits  until all have arrived, at most the group's deadline @throws TimeoutError, CommError
    virtual void wait() = 0;
    /// @par Waits  until what comes from this rank's unit is there
    virtual void wait_near() = 0;
};

/// A started dispatch or return of rows.
class PendingRows {
  public:
    PendingRows(Tensor rows, Tensor staging, std::shared_ptr<Flight> flight)
        : rows_(std::move(rows)), staging_(std::move(staging)), flight_(std::move(flight)) {}
    /// Makes progress without blocking; true when this rank's messages are complete.
    bool test() { return flight_->test(); }
    /// The received rows [R, H] for a dispatch, the results for a return; plan.most rows where that is set, of which those
    /// of other ranks' counts are nobody's.
    /// @par Waits  until all have arrived, at most the group's deadline @throws TimeoutError, CommError
    Tensor wait() {
        flight_->wait();
        return std::move(rows_);
    }
    /// The rows of a dispatch while those of other units are on their way: only those from this rank's own unit can be
    /// read. @par Waits  until the ranks of this unit have written theirs
    ConstTensorRef near_rows() {
        flight_->wait_near();
        return rows_;
    }

  private:
    Tensor rows_;
    Tensor staging_;
    std::shared_ptr<Flight> flight_;  // Second owner: the exchange, which polls it.
};

/// Carries tokens to their experts and back: executes plans, decides nothing. One body per transport of rows; every body
/// passes tests/unit/comm/exchange_conformance.
/// All functions are @par Collective over the expert-parallel group, same order on all its ranks.
class Exchange {
  public:
    virtual ~Exchange() = default;

    /// Agrees on counts and slot records. @pre choices of all ranks come from the same layer and pass
    /// @param chunks  by_arrival: wherever rows cross a network; else there is one
    virtual DispatchPlan plan(const Choices& choices, const Placement& placement, ReturnRows return_rows,
                              SlotChunks chunks = SlotChunks::one) = 0;

    /// Starts sending one row per (token, destination unit). Used by forward with x and by combine's backward
    /// with dy.
    /// @param x  [T, H] f32, bf16 or u8 (encoded) in token order
    /// @par Buffers  x has been read and the plan is not used any more when the call returns; the rows on their way are
    ///               memory of the result. All ranks of a unit read the same rows: nobody may write to them.
    /// @par Waits    for the ranks of this unit, until they have called too; PendingRows::wait for the rows
    virtual PendingRows start_dispatch(ConstTensorRef x, const DispatchPlan& plan) = 0;

    /// Memory for the results of a unit: [plan.back.num_results, H], or plan.most.results rows where that is set. This rank writes
    /// what its experts return to rows plan.back.slots, in the order of the receive plan, and nothing else.
    /// @param dtype  f32, or bf16: the rows travel so; sums are f32, those of a gateway rounded before they travel
    /// @par Waits  for the ranks of this unit, until they have called too
    virtual Tensor make_results(const DispatchPlan& plan, index_t width, DType dtype = DType::f32) = 0;

    /// Starts bringing results to where combine_returned reads them. Used by combine and by dispatch's backward.
    /// @param results  of make_results, with this rank's slots written; those of near chunks may be written until
    ///                 PendingRows::wait, through references taken before. For other units, per_unit: the slots of a row are
    ///                 added first (ascending choice); per_choice: each travels by itself.
    /// @par Buffers  as start_dispatch; PendingRows::wait gives the results back
    /// @par Waits    for the ranks of this unit, until they have written their slots; PendingRows::wait for other units
    virtual PendingRows start_return(Tensor results, const DispatchPlan& plan) = 0;

    /// One number a slot back to its choice (gradients of the combine weights).
    /// @param slot_values  [S] f32
    /// @param out          [T, K] f32, 0 where dropped
    virtual void return_scalars(ConstTensorRef slot_values, const DispatchPlan& plan, TensorRef out) = 0;

    /// Gives rows that are under way a chance to move on. @par Waits never
    virtual void poll() = 0;
    /// Ends what only a collective call can end; the last call in normal flow.
    virtual void close() = 0;

    virtual ExchangeTraffic traffic() const = 0;
    virtual ExchangeTimes times() const = 0;
    /// Seconds that this rank has waited for messages which do not go through the group's communicator.
    virtual double waited_seconds() const { return 0.0; }
    /// Bytes that this rank has taken from the system for others to reach, beside its device's memory: its part of what the
    /// ranks of its node share, or what others put rows into, with the rings of the transport; windows of a device are its
    /// memory, but taken beside it too. They grow and stay.
    virtual index_t reachable_bytes() const = 0;
};

/// y[t] = (or +=) sum over the results of token t, in the order of plan.back.rows.
/// @param results  [num_results, H] of start_return
/// @param y        [T, H] f32
void combine_returned(ConstTensorRef results, const DispatchPlan& plan, Write write, TensorRef y,
                      const Context& context);

/// Whether this build has the exchange where rows are in memory of the host: `one_sided` needs UCX there.
bool has_exchange(ExchangeKind kind);

/// Makes an exchange of one kind. In `hierarchical`, ranks of a node share memory where their devices work in that of the
/// host; other devices pass rows on to each other. In `one_sided`, UCX puts rows into memory of the host, kernels those of
/// other devices.
/// @param group     borrowed; carries nothing else while a function of the exchange runs
/// @param topology  of the group
/// @param context   borrowed; buffers come from its device
/// @throws IoError when `hierarchical` finds no shared memory; ConfigError for `one_sided` in a build without UCX, or
///                 of devices that do not reach each other's memory
/// @par Collective over the group
std::unique_ptr<Exchange> make_exchange(ExchangeKind kind, Communicator& group, const Topology& topology,
                                        const Context& context);

}  // namespace sy::comm
