#include <algorithm>

#include "comm/exchange/exchange.hpp"
#include "kernels/ops/permute/permute.hpp"

namespace sy::comm {
namespace {

std::vector<index_t> scaled(std::span<const index_t> offsets, index_t factor) {
    std::vector<index_t> result;
    for (const index_t offset : offsets) result.push_back(offset * factor);
    return result;
}

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
        for (std::size_t rank = 0; rank < static_cast<std::size_t>(group_.size()); ++rank) {
            counts.push_back(plan.send.row_offsets[rank + 1] - plan.send.row_offsets[rank]);
            counts.push_back(plan.send.slot_offsets[rank + 1] - plan.send.slot_offsets[rank]);
        }
        const std::vector<index_t> incoming = all_to_all(group_, std::span<const index_t>(counts));
        std::vector<index_t> row_offsets{0};
        std::vector<index_t> slot_offsets{0};
        for (std::size_t rank = 0; rank < static_cast<std::size_t>(group_.size()); ++rank) {
            row_offsets.push_back(row_offsets.back() + incoming[2 * rank]);
            slot_offsets.push_back(slot_offsets.back() + incoming[2 * rank + 1]);
        }
        std::vector<SlotRecord> records(static_cast<std::size_t>(slot_offsets.back()));
        constexpr auto kRecordBytes = static_cast<index_t>(sizeof(SlotRecord));
        start_all_to_all_v(group_, std::as_bytes(std::span<const SlotRecord>(plan.send.slots)),
                           scaled(plan.send.slot_offsets, kRecordBytes),
                           std::as_writable_bytes(std::span<SlotRecord>(records)),
                           scaled(slot_offsets, kRecordBytes), next_tag(), "exchange of slot records")
            .wait();
        plan.receive = make_receive_plan(row_offsets, slot_offsets, records, placement, group_.rank());
        bytes_.metadata += remote(plan.send.slot_offsets) * kRecordBytes +
                           (group_.size() - 1) * 2 * index_t{sizeof(index_t)};
        return plan;
    }

    PendingRows start_dispatch(MatrixView<const float> x, const DispatchPlan& plan) override {
        return dispatch(x, plan);
    }
    PendingRows start_dispatch(MatrixView<const bf16> x, const DispatchPlan& plan) override {
        return dispatch(x, plan);
    }

    PendingRows start_return(MatrixView<const float> slots, const DispatchPlan& plan) override {
        SY_REQUIRE(slots.rows == plan.receive.num_slots(), "exchange: ", slots.rows, " slots returned of ",
                   plan.receive.num_slots());
        if (plan.return_rows == ReturnRows::per_rank) {
            return start_rows({plan.receive.row_offsets, plan.send.row_offsets,
                               remote(plan.receive.row_offsets), "return of rows"},
                              slots.cols, [&](Range rows, MatrixView<float> out) {
                                  const auto offsets =
                                      std::span<const index_t>(plan.receive.row_slot_offsets)
                                          .subspan(static_cast<std::size_t>(rows.begin),
                                                   static_cast<std::size_t>(rows.size()) + 1);
                                  ops::sum_rows(slots, offsets, plan.receive.slot_of_record,
                                                ops::Into::overwrite, out, context_);
                              });
        }
        return start_rows({plan.receive.slot_offsets, plan.send.slot_offsets,
                           remote(plan.receive.row_offsets), "return of rows"},
                          slots.cols, [&](Range records, MatrixView<float> out) {
                              ops::gather_rows(slots, part(plan.receive.slot_of_record, records), out,
                                               context_);
                          });
    }

    void return_scalars(std::span<const float> slot_values, const DispatchPlan& plan,
                        MatrixView<float> out) override {
        const index_t num_choices = static_cast<index_t>(plan.send.slot_of_choice.size());
        SY_REQUIRE(static_cast<index_t>(slot_values.size()) == plan.receive.num_slots() &&
                       out.rows == plan.num_tokens() && out.rows * out.cols == num_choices,
                   "exchange: ", slot_values.size(), " scalars of ", plan.receive.num_slots(),
                   " slots into [", out.rows, ", ", out.cols, "] for ", num_choices, " choices of ",
                   plan.num_tokens(), " tokens");
        std::vector<float> by_record(slot_values.size());
        for (std::size_t i = 0; i < by_record.size(); ++i) {
            by_record[i] = slot_values[static_cast<std::size_t>(plan.receive.slot_of_record[i])];
        }
        std::vector<float> back(static_cast<std::size_t>(plan.send.num_slots()));
        start_all_to_all_v(
            group_, std::as_bytes(std::span<const float>(by_record)),
            scaled(plan.receive.slot_offsets, sizeof(float)), std::as_writable_bytes(std::span<float>(back)),
            scaled(plan.send.slot_offsets, sizeof(float)), next_tag(), "return of weight gradients")
            .wait();
        bytes_.metadata += remote(plan.receive.slot_offsets) * index_t{sizeof(float)};
        for (index_t t = 0; t < out.rows; ++t) {
            for (index_t j = 0; j < out.cols; ++j) {
                const std::int32_t slot =
                    plan.send.slot_of_choice[static_cast<std::size_t>(t * out.cols + j)];
                out(t, j) = slot < 0 ? 0.0F : back[static_cast<std::size_t>(slot)];
            }
        }
    }

    ExchangeBytes bytes() const override { return bytes_; }

  private:
    /// Tags go round, so that exchanges under way at the same time never meet.
    int next_tag() { return tag_ = tag_ % 1000 + 1; }

    /// How many of the items in `offsets` belong to other ranks.
    index_t remote(std::span<const index_t> offsets) const {
        const auto me = static_cast<std::size_t>(group_.rank());
        return offsets.back() - (offsets[me + 1] - offsets[me]);
    }

    template <class T>
    PendingRows dispatch(MatrixView<const T> x, const DispatchPlan& plan) {
        SY_REQUIRE(x.rows == plan.num_tokens(), "exchange: ", x.rows, " tokens for a plan of ",
                   plan.num_tokens());
        return start_rows<T>({plan.send.row_offsets, plan.receive.row_offsets, remote(plan.send.row_offsets),
                              "dispatch of rows"},
                             x.cols, [&](Range rows, MatrixView<T> out) {
                                 ops::gather_rows(x, part(plan.send.row_token, rows), out, context_);
                             });
    }

    static std::span<const std::int32_t> part(const std::vector<std::int32_t>& values, Range range) {
        return std::span<const std::int32_t>(values).subspan(static_cast<std::size_t>(range.begin),
                                                             static_cast<std::size_t>(range.size()));
    }

    /// Rows to and from each rank, [P + 1] each.
    struct Transfer {
        std::span<const index_t> out_offsets;
        std::span<const index_t> in_offsets;
        index_t bound_rows;  ///< the fewest that could be sent to others
        const char* doing;
    };

    /// Sends rows. Those for other ranks are written first and are on their way while this rank's own are written
    /// to where they are wanted.
    /// @param write  write(range of outgoing rows, where)
    template <class T = float, class Write>
    PendingRows start_rows(const Transfer& transfer, index_t width, const Write& write) {
        const auto me = static_cast<std::size_t>(group_.rank());
        const Range own{transfer.out_offsets[me], transfer.out_offsets[me + 1]};
        const index_t num_out = transfer.out_offsets.back();
        const index_t own_target = transfer.in_offsets[me];
        SY_REQUIRE(transfer.in_offsets[me + 1] - own_target == own.size(), transfer.doing, ": ", own.size(),
                   " own rows for ", transfer.in_offsets[me + 1] - own_target);
        Tensor staging(context_.arena, dtype_of<T>::value, {num_out, width});
        Tensor rows(context_.arena, dtype_of<T>::value, {transfer.in_offsets.back(), width});
        for (const Range part : {Range{0, own.begin}, Range{own.end, num_out}})
            if (part.size() > 0) write(part, staging.matrix<T>().rows_of(part));
        const index_t row_bytes = width * dtype_bytes(staging.dtype());
        PendingExchange exchange = start_exchange_with_others(
            group_, std::as_const(staging).raw(), scaled(transfer.out_offsets, row_bytes), rows.raw(),
            scaled(transfer.in_offsets, row_bytes), next_tag(), transfer.doing);
        if (own.size() > 0) write(own, rows.matrix<T>().rows_of({own_target, own_target + own.size()}));
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
