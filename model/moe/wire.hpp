#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <utility>

#include "comm/exchange/exchange.hpp"
#include "kernels/core/context.hpp"
#include "kernels/core/tensor.hpp"
#include "model/config.hpp"
#include "model/layers/linear.hpp"

/// Rows between tokens and experts in the format that moe.wire chooses. Every row is rounded, also one that stays on its
/// rank, so that results do not depend on the layout.
/// T tokens of this rank, S slots of its experts, H width of a row.
namespace sy::model {

/// Rows as they are dispatched.
class SentRows {
  public:
    /// @param x      [T, H] f32
    /// @param dtype  of the products that read them
    SentRows(ConstTensorRef x, WireFormat format, DType dtype, const Context& context);
    ConstTensorRef ref() const { return product_ ? product_->ref() : encoded_; }

  private:
    std::optional<ProductInput> product_;
    Tensor encoded_;
};

/// Bytes of a value of each kind of row, scales included.
struct WireBytes {
    double row = 4.0;       ///< dispatched in forward
    double gradient = 4.0;  ///< dispatched in backward
    double result = 4.0;    ///< returned, in both passes
};
WireBytes wire_bytes(WireFormat format, DType dtype);

/// The format of gradients: fp8 carries rows of the forward pass only.
WireFormat gradient_wire(WireFormat format);

/// Received rows as operands of products: slot s reads x[row[s]], or x[s] where `row` is empty.
struct SlotRows {
    ConstTensorRef x;
    std::span<const std::int32_t> row;
    Tensor own;  ///< behind x, unless it is the received rows themselves

    /// Gives every slot a row of its own.
    void spread(const Context& context);
};

/// The rows of some slots, decoded where products cannot read them as they are.
/// @param rows  of PendingRows, which have to live as long as the result
/// @param row   of each slot, as is `row` of the result
SlotRows slot_rows(ConstTensorRef rows, std::span<const std::int32_t> row, index_t width, DType dtype,
                   const Context& context);

/// What a rank's experts return.
class SlotResults {
  public:
    /// @par Collective over the ranks of the exchange
    SlotResults(comm::Exchange& exchange, const comm::DispatchPlan& plan, index_t width, WireFormat format,
                const Context& context);
    /// [S, H] f32, to be written.
    TensorRef values() const { return own_.empty() ? travelling_ : values_; }
    /// Those of some slots are complete: in time for start_return, and for the end of the return where rows are near.
    void written(Range slots);
    comm::PendingRows start_return() { return exchange_.start_return(std::move(results_), plan_); }

  private:
    comm::Exchange& exchange_;
    const comm::DispatchPlan& plan_;
    const Context& context_;
    Tensor results_;
    TensorRef travelling_;  ///< this rank's part of the results, which start_return takes along
    Tensor own_;            ///< behind values_, none where the results are f32 themselves
    TensorRef values_;
};

}  // namespace sy::model
