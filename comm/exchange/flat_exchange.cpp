#include <algorithm>
#include <utility>

#include "comm/exchange/exchange.hpp"
#include "kernels/ops/permute/permute.hpp"

namespace sy::comm {
namespace {

class FlatExchange : public Exchange {
  public:
    FlatExchange(Communicator& group, const Context& context) : group_(group), context_(context) {}

    DispatchPlan plan(const Choices& choices, const Placement& placement, ReturnRows return_rows) override {
        SY_REQUIRE(placement.num_ranks() == group_.size(), "exchange: placement over ", placement.num_ranks(),
                   " ranks in a group of ", group_.size());
        DispatchPlan plan;
        plan.return_rows = return_rows;
        plan.send = make_send_plan(choices, placement, group_.rank(), return_rows);
        std::vector<index_t> counts;
        for (int rank = 0; rank < group_.size(); ++rank) {
            counts.push_back(plan.send.row_offsets[rank].size());
            counts.push_back(plan.send.slot_offsets[rank].size());
        }
        const std::vector<index_t> incoming = all_to_all(group_, std::span<const index_t>(counts));
        const MatrixView<const index_t> announced(incoming.data(), group_.size(), 2);
        RankOffsets row_offsets;
        RankOffsets slot_offsets;
        for (int rank = 0; rank < group_.size(); ++rank) {
            row_offsets.append(announced(rank, 0));
            slot_offsets.append(announced(rank, 1));
        }
        Indexed<RecordAxis, SlotRecord> records(slot_offsets.total());
        constexpr auto kRecordBytes = static_cast<index_t>(sizeof(SlotRecord));
        start_all_to_all_v(group_, std::as_bytes(std::span<const SlotRecord>(plan.send.slots)),
                           plan.send.slot_offsets.scaled(kRecordBytes),
                           std::as_writable_bytes(std::span<SlotRecord>(records)),
                           slot_offsets.scaled(kRecordBytes), next_tag(), "exchange of slot records")
            .wait();
        plan.receive = make_receive_plan(row_offsets, slot_offsets, records, placement, group_.rank());
        bytes_.metadata += remote(plan.send.slot_offsets) * kRecordBytes +
                           (group_.size() - 1) * 2 * index_t{sizeof(index_t)};
        return plan;
    }

    PendingRows start_dispatch(ConstTensorRef x, const DispatchPlan& plan) override {
        SY_REQUIRE(x.rows() == plan.num_tokens(), "exchange: ", x.rows(), " tokens for a plan of ",
                   plan.num_tokens());
        return start_rows({plan.send.row_offsets, plan.receive.row_offsets, remote(plan.send.row_offsets),
                           "dispatch of rows"},
                          x.dtype(), x.cols(), [&](Range rows, TensorRef out) {
                              ops::gather_rows(x, part<const std::int32_t>(plan.send.row_token, rows), out,
                                               context_);
                          });
    }

    PendingRows start_return(ConstTensorRef slots, const DispatchPlan& plan) override {
        SY_REQUIRE(slots.rows() == plan.receive.num_slots(), "exchange: ", slots.rows(),
                   " slots returned of ", plan.receive.num_slots());
        if (plan.return_rows == ReturnRows::per_rank) {
            return start_rows({plan.receive.row_offsets, plan.send.row_offsets,
                               remote(plan.receive.row_offsets), "return of rows"},
                              DType::f32, slots.cols(), [&](Range rows, TensorRef out) {
                                  const auto offsets =
                                      part(plan.receive.row_slot_offsets.edges(), {rows.begin, rows.end + 1});
                                  ops::sum_rows(slots, offsets, plan.receive.slot_of_record, Write::overwrite,
                                                out, context_);
                              });
        }
        return start_rows({plan.receive.slot_offsets, plan.send.slot_offsets,
                           remote(plan.receive.row_offsets), "return of rows"},
                          DType::f32, slots.cols(), [&](Range records, TensorRef out) {
                              ops::gather_rows(slots,
                                               part<const std::int32_t>(plan.receive.slot_of_record, records),
                                               out, context_);
                          });
    }

    void return_scalars(ConstTensorRef values, const DispatchPlan& plan, TensorRef choices) override {
        const PerSlotSpan<const float> slot_values = host_values<const float>(values);
        const auto out = host<float>(choices);
        const index_t num_choices = plan.send.slot_of_choice.size();
        SY_REQUIRE(slot_values.size() == plan.receive.num_slots() && out.rows == plan.num_tokens() &&
                       out.rows * out.cols == num_choices,
                   "exchange: ", slot_values.size(), " scalars of ", plan.receive.num_slots(),
                   " slots into [", out.rows, ", ", out.cols, "] for ", num_choices, " choices of ",
                   plan.num_tokens(), " tokens");
        Indexed<RecordAxis, float> by_record(slot_values.size());
        for (index_t i = 0; i < by_record.size(); ++i)
            by_record[i] = slot_values[plan.receive.slot_of_record[i]];
        Indexed<RecordAxis, float> back(plan.send.num_slots());
        start_all_to_all_v(
            group_, std::as_bytes(std::span<const float>(by_record)),
            plan.receive.slot_offsets.scaled(sizeof(float)), std::as_writable_bytes(std::span<float>(back)),
            plan.send.slot_offsets.scaled(sizeof(float)), next_tag(), "return of weight gradients")
            .wait();
        bytes_.metadata += remote(plan.receive.slot_offsets) * index_t{sizeof(float)};
        for (index_t t = 0; t < out.rows; ++t) {
            for (index_t j = 0; j < out.cols; ++j) {
                const std::int32_t slot = plan.send.slot_of_choice[t * out.cols + j];
                out(t, j) = slot < 0 ? 0.0F : back[slot];
            }
        }
    }

    ExchangeBytes bytes() const override { return bytes_; }

  private:
    /// Tags go round, so that exchanges under way at the same time never meet.
    int next_tag() { return tag_ = tag_ % 1000 + 1; }

    /// How many of the items in `offsets` belong to other ranks.
    index_t remote(const RankOffsets& offsets) const {
        return offsets.total() - offsets[group_.rank()].size();
    }

    /// Rows to and from each rank.
    struct Transfer {
        const RankOffsets& out_offsets;
        const RankOffsets& in_offsets;
        index_t bound_rows;  ///< the fewest that could be sent to others
        const char* doing;
    };

    /// Sends rows. Those for other ranks are written first and are on their way while this rank's own are written
    /// to where they are wanted.
    /// @param write  write(range of outgoing rows, where)
    template <class WriteRows>
    PendingRows start_rows(const Transfer& transfer, DType dtype, index_t width, const WriteRows& write) {
        const Range own = transfer.out_offsets[group_.rank()];
        const Range own_target = transfer.in_offsets[group_.rank()];
        const index_t num_out = transfer.out_offsets.total();
        SY_REQUIRE(own_target.size() == own.size(), transfer.doing, ": ", own.size(), " own rows for ",
                   own_target.size());
        Tensor staging(context_.arena, dtype, {num_out, width});
        Tensor rows(context_.arena, dtype, {transfer.in_offsets.total(), width});
        for (const Range part : {Range{0, own.begin}, Range{own.end, num_out}})
            if (part.size() > 0) write(part, staging.ref().rows_of(part));
        const index_t row_bytes = width * dtype_bytes(staging.dtype());
        PendingExchange exchange = start_exchange_with_others(
            group_, std::as_const(staging).raw(), transfer.out_offsets.scaled(row_bytes), rows.raw(),
            transfer.in_offsets.scaled(row_bytes), next_tag(), transfer.doing);
        if (own.size() > 0) write(own, rows.ref().rows_of(own_target));
        bytes_.rows += remote(transfer.out_offsets) * row_bytes;
        bytes_.bound += transfer.bound_rows * row_bytes;
        return PendingRows(std::move(rows), std::move(staging), std::move(exchange));
    }

    Communicator& group_;
    const Context& context_;
    int tag_ = 0;
    ExchangeBytes bytes_;
};

}  // namespace

std::unique_ptr<Exchange> make_flat_exchange(Communicator& group, const Context& context) {
    return std::make_unique<FlatExchange>(group, context);
}

}  // namespace sy::comm
