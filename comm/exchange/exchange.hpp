#pragma once

#include <memory>
#include <span>
#include <utility>

#include "comm/collectives.hpp"
#include "comm/exchange/dispatch_plan.hpp"
#include "kernels/core/context.hpp"
#include "kernels/core/tensor.hpp"
#include "kernels/core/write.hpp"

namespace sy::comm {

/// Bytes this rank sent to other ranks, for telemetry.
struct ExchangeBytes {
    index_t rows = 0;      ///< dispatched and returned rows
    index_t metadata = 0;  ///< counts and slot records
    index_t bound = 0;     ///< least possible row bytes: one row per (token, other rank) each way
};

/// A started dispatch or return of rows.
class PendingRows {
  public:
    PendingRows(Tensor rows, Tensor staging, PendingExchange exchange)
        : rows_(std::move(rows)), staging_(std::move(staging)), exchange_(std::move(exchange)) {}
    /// Makes progress without blocking.
    bool test() { return exchange_.test(); }
    /// The received rows: [R, H] for a dispatch; for a return, one row per sent row or slot.
    /// @par Waits  until all have arrived, at most the group's deadline @throws TimeoutError, CommError
    Tensor wait() {
        exchange_.wait();
        return std::move(rows_);
    }

  private:
    Tensor rows_;
    Tensor staging_;
    PendingExchange exchange_;
};

/// Carries tokens to their experts and back: executes plans, decides nothing. One body per strategy, of which there
/// is one, the flat exchange; every body passes tests/unit/comm/exchange_conformance.
/// All functions are @par Collective over the expert-parallel group, same order on all its ranks.
class Exchange {
  public:
    virtual ~Exchange() = default;

    /// Agrees on counts and slot records. @pre choices of all ranks come from the same layer and pass
    virtual DispatchPlan plan(const Choices& choices, const Placement& placement, ReturnRows return_rows) = 0;

    /// Starts sending one row per (token, destination rank). Used by forward with x and by combine's backward
    /// with dy.
    /// @param x  [T, H] f32 or bf16 in token order
    /// @par Buffers  x has been read and the plan is not used any more when the call returns; the rows on their way are
    ///               memory of the result
    /// @par Waits    never; PendingRows::wait does
    virtual PendingRows start_dispatch(ConstTensorRef x, const DispatchPlan& plan) = 0;

    /// Starts sending slot results back. Used by combine and by dispatch's backward.
    /// @param slots  [S, H] f32 in the order of the receive plan. per_rank: the slots of a row are added
    ///               first (ascending choice); per_choice: each travels by itself.
    /// @par Buffers  as start_dispatch: slots have been read when the call returns
    /// @par Waits    never; PendingRows::wait does
    virtual PendingRows start_return(ConstTensorRef slots, const DispatchPlan& plan) = 0;

    /// One number a slot back to its choice (gradients of the combine weights).
    /// @param slot_values  [S] f32
    /// @param out          [T, K] f32, 0 where dropped
    virtual void return_scalars(ConstTensorRef slot_values, const DispatchPlan& plan, TensorRef out) = 0;

    virtual ExchangeBytes bytes() const = 0;
};

/// y[t] = (or +=) sum over the returned rows of token t, in the order of plan.send.returns.
/// @param returned  [num_returned, H] f32
/// @param y         [T, H] f32
void combine_returned(ConstTensorRef returned, const DispatchPlan& plan, Write write, TensorRef y,
                      const Context& context);

/// Every rank sends directly to every other rank of the group.
/// @param context  borrowed; buffers come from its arena
std::unique_ptr<Exchange> make_flat_exchange(Communicator& group, const Context& context);

}  // namespace sy::comm
